"""Reads the parameters of requests and tensors, and rejects reserved ones that this server does not support."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.request_reader import ParameterValue

__all__ = ["RegionRef", "RequestParameters", "read_class_count", "read_region_ref", "read_request_parameters"]

_US_PER_S: Final = 1_000_000
_RESERVED_PREFIX: Final = "triton_"
_ACCEPTED_RESERVED: Final = frozenset({"triton_enable_empty_final_response"})
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")
_CLASSIFICATION: Final = "classification"
_REGION: Final = "shared_memory_region"
_BYTE_SIZE: Final = "shared_memory_byte_size"
_OFFSET: Final = "shared_memory_offset"
_OUTPUT_REGION: Final = "sardonyx_output_region"
_MAX_PARAMETERS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """The parameters of a request.

    Attributes:
        priority: 1 is the highest; 0 = the model's default.
        timeout_s: Queue timeout that the caller asks for; infinity if none.
        output_region: Shared memory region for all large outputs; "" = all are sent.
    """

    priority: int = 0
    timeout_s: float = math.inf
    output_region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRef:
    """A reference to bytes of a shared memory region, which hold a tensor.

    Attributes:
        region: Name under which a client registered the region.
        offset: Offset of the first byte in the region.
        byte_size: Size of the data (an input), or of the space for it (an output).
    """

    region: str
    offset: int
    byte_size: int


def read_request_parameters(parameters: Mapping[str, ParameterValue]) -> RequestParameters:
    """Read the parameters of a request. Unknown keys of any type are ignored, unless they are reserved.

    Raises:
        InvalidRequest: A wrong type or value, an unknown reserved key, or too many parameters.
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
    _reject_sequences(parameters)
    timeout_us = _integer(parameters, "timeout")
    return RequestParameters(
        priority=_integer(parameters, "priority"),
        timeout_s=timeout_us / _US_PER_S if timeout_us else math.inf,
        output_region=_output_region(parameters),
    )


def read_region_ref(parameters: Mapping[str, ParameterValue], *, what: str, field: str) -> RegionRef | None:
    """Read where a tensor lies in shared memory; None if it is in the message.

    Args:
        parameters: Parameters of the input or output.
        what: The tensor, for messages.
        field: Path of the parameters in the request.

    Raises:
        InvalidRequest: A wrong type or value, or a parameter without another one that it needs.
    """
    if not parameters:
        return None
    region = parameters.get(_REGION)
    if region is None:
        for name in (_BYTE_SIZE, _OFFSET):
            if name in parameters:
                raise InvalidRequest(
                    f"parameter '{name}' of {what} needs '{_REGION}' beside it", field=f"{field}[{name}]"
                )
        return None
    name = _region_name(region, f"parameter '{_REGION}' of {what}", f"{field}[{_REGION}]")
    if _BYTE_SIZE not in parameters:
        raise InvalidRequest(
            f"parameter '{_REGION}' of {what} needs '{_BYTE_SIZE}' beside it", field=f"{field}[{_BYTE_SIZE}]"
        )
    return RegionRef(
        region=name,
        offset=_integer(parameters, _OFFSET, what=what, field=field),
        byte_size=_integer(parameters, _BYTE_SIZE, what=what, field=field),
    )


def read_class_count(parameters: Mapping[str, ParameterValue], *, what: str, field: str) -> int:
    """Read how many top classes of an output are requested; 0 = the output itself.

    Raises:
        InvalidRequest: Not an integer, or less than 1.
    """
    if _CLASSIFICATION not in parameters:
        return 0
    return _integer(parameters, _CLASSIFICATION, minimum=1, what=what, field=field)


def _output_region(parameters: Mapping[str, ParameterValue]) -> str:
    return _region_name(
        parameters.get(_OUTPUT_REGION, ""), f"parameter '{_OUTPUT_REGION}'", f"parameters[{_OUTPUT_REGION}]"
    )


def _region_name(value: ParameterValue, subject: str, field: str) -> str:
    if isinstance(value, str):
        return value
    expected, got = "the name of a region", type(value).__name__
    raise InvalidRequest(f"{subject}: expected {expected}, got {got}", field=field, expected=expected, got=got)


def _reject_sequences(parameters: Mapping[str, ParameterValue]) -> None:
    """Reject sequence parameters, which need a stateful model. An id of 0 or "" and false flags mean no sequence."""
    for name in _SEQUENCE:
        value = parameters.get(name, 0)
        wanted = (int, str) if name == "sequence_id" else (bool, int)
        if not isinstance(value, wanted):
            expected = "an integer or a string" if name == "sequence_id" else "a boolean"
            raise InvalidRequest(
                f"parameter '{name}': expected {expected}, got {type(value).__name__}",
                field=f"parameters[{name}]",
                expected=expected,
                got=type(value).__name__,
            )
        if value:
            raise InvalidRequest(
                f"parameter '{name}': the model has no sequence batching; send no sequence parameters",
                field=f"parameters[{name}]",
            )


def _integer(
    parameters: Mapping[str, ParameterValue],
    name: str,
    *,
    minimum: int = 0,
    what: str = "",
    field: str = "parameters",
) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        shown = value if isinstance(value, bool | int | float) else type(value).__name__
        of = f" of {what}" if what else ""
        raise InvalidRequest(
            f"parameter '{name}'{of}: expected an integer of at least {minimum}, got {shown}",
            field=f"{field}[{name}]",
            expected=f"an integer of at least {minimum}",
            got=str(shown),
        )
    return value
