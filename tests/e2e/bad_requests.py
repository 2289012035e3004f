"""Every bad request, with the status it must get: one table. Sends nothing."""

from __future__ import annotations

from typing import Final

from tests.e2e.bad_control import control
from tests.e2e.bad_memory import classes, memory
from tests.e2e.bad_messages import messages, outputs, parameters, strings
from tests.e2e.bad_names import names
from tests.e2e.bad_request import BadRequest
from tests.e2e.bad_statistics import statistics
from tests.e2e.bad_streams import streams
from tests.e2e.bad_tensors import inputs, payloads
from tests.e2e.bad_tracing import log_settings, trace_settings

__all__ = ["BAD_REQUESTS", "BadRequest"]

BAD_REQUESTS: Final = (
    *names(),
    *inputs(),
    *payloads(),
    *strings(),
    *outputs(),
    *parameters(),
    *messages(),
    *statistics(),
    *trace_settings(),
    *log_settings(),
    *classes(),
    *memory(),
    *streams(),
    *control(),
)
