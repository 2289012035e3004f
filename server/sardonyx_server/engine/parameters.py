"""Parameters of requests and tensors: those that mean something here, and the refusal of those that would mislead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest, Unsupported
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.requests import ParameterValue

__all__ = ["RequestParameters", "check_tensor_parameters", "read_request_parameters"]

_US_PER_S: Final = 1_000_000
_RESERVED_PREFIX: Final = "triton_"
_ACCEPTED_RESERVED: Final = frozenset({"triton_enable_empty_final_response"})
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")
_NOT_SERVED_TENSOR: Final = (
    "classification",
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
)
_MAX_PARAMETERS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """What the parameters of a request say.

    Attributes:
        priority: 1 is the highest; 0 means the model's default.
        timeout_s: Longest wait in the queue that the caller accepts; infinity where it says nothing.
    """

    priority: int = 0
    timeout_s: float = math.inf


def read_request_parameters(parameters: Mapping[str, ParameterValue]) -> RequestParameters:
    """Read the parameters of a request; keys of the caller's own, of any type, pass.

    Raises:
        InvalidRequest: A wrong type or value, an unknown reserved key, or far too many.
    """
    if not parameters:
        return RequestParameters()
    if len(parameters) > _MAX_PARAMETERS:
        raise InvalidRequest(
            f"parameters: expected at most {_MAX_PARAMETERS} entries, got {len(parameters)}", field="parameters"
        )
    for name in parameters:
        if name.startswith(_RESERVED_PREFIX) and name not in _ACCEPTED_RESERVED:
            raise InvalidRequest(
                f"parameter {quoted(name)}: names that begin with '{_RESERVED_PREFIX}' are reserved and this one is "
                "unknown",
                field=f"parameters[{quoted(name)}]",
            )
    _refuse_sequences(parameters)
    timeout_us = _whole_number(parameters, "timeout")
    return RequestParameters(
        priority=_whole_number(parameters, "priority"), timeout_s=timeout_us / _US_PER_S if timeout_us else math.inf
    )


def check_tensor_parameters(parameters: Mapping[str, ParameterValue], *, what: str, field: str) -> None:
    """Refuse parameters of an input or output that ask for something this server would silently not do."""
    for name in _NOT_SERVED_TENSOR:
        if name in parameters:
            raise Unsupported(f"parameter '{name}' of {what} ({field}) is not supported by this server")


def _refuse_sequences(parameters: Mapping[str, ParameterValue]) -> None:
    """Sequences need a model with state. Clients send id 0 or "" and false flags to say that there is none."""
    for name in _SEQUENCE:
        value = parameters.get(name, 0)
        wanted = (int, str) if name == "sequence_id" else (bool, int)
        if not isinstance(value, wanted):
            raise InvalidRequest(
                f"parameter '{name}': expected {'an integer or a string' if name == 'sequence_id' else 'a boolean'}, "
                f"got {type(value).__name__}",
                field=f"parameters[{name}]",
            )
        if value:
            raise InvalidRequest(
                f"parameter '{name}': the model has no sequence batching; send no sequence parameters",
                field=f"parameters[{name}]",
            )


def _whole_number(parameters: Mapping[str, ParameterValue], name: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        shown = value if isinstance(value, bool | int | float) else type(value).__name__
        raise InvalidRequest(
            f"parameter '{name}': expected an integer of at least 0, got {shown}", field=f"parameters[{name}]"
        )
    return value
