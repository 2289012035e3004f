"""Requests out of arrays, arrays out of answers, facts out of failures. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from sardonyx_wire.datatypes import DATATYPES, for_dtype
from sardonyx_wire.messages import InferParameter, ModelInferRequest
from sardonyx_wire.tensors import decode_raw, encode_raw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import grpc
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from sardonyx_wire.messages import ModelInferResponse

__all__ = ["DETAILS_KEY", "Failure", "arrays_of", "encoded", "failure_of", "gate_request", "infer_request"]

DETAILS_KEY: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a call failed.

    Attributes:
        code: Status.
        message: For people.
        details: google.rpc.Status, as any client reads it; None where the transport failed the call by itself.
        trailing: All trailing metadata.
    """

    code: grpc.StatusCode
    message: str
    details: RpcStatus | None
    trailing: Mapping[str, str | bytes]

    @property
    def reason(self) -> str:
        """``ErrorInfo.reason``."""
        info: ErrorInfo = self._detail(ErrorInfo())
        return str(info.reason)

    @property
    def fields(self) -> list[str]:
        """Fields of the request that are wrong."""
        bad: BadRequest = self._detail(BadRequest())
        return [violation.field for violation in bad.field_violations]

    @property
    def retry_after_s(self) -> float:
        """When to try again."""
        retry: RetryInfo = self._detail(RetryInfo())
        return float(retry.retry_delay.ToTimedelta().total_seconds())

    def _detail(self, empty: Any) -> Any:
        assert self.details is not None, f"no details with {self.code.name}: {self.message}"
        for packed in self.details.details:
            if packed.Unpack(empty):
                break
        return empty


def failure_of(error: grpc.RpcError) -> Failure:
    """Read what a call raised."""
    call: Any = error
    trailing = dict(call.trailing_metadata() or ())
    encoded = trailing.get(DETAILS_KEY)
    return Failure(
        code=call.code(),
        message=call.details() or "",
        details=None if encoded is None else RpcStatus.FromString(encoded),
        trailing=trailing,
    )


def infer_request(
    model: str,
    /,
    *,
    version: str = "",
    request_id: str = "",
    outputs: Sequence[str] = (),
    parameters: Mapping[str, bool | str | float] | None = None,
    datatypes: Mapping[str, str] | None = None,
    **arrays: NDArray[Any],
) -> ModelInferRequest:
    """A request with raw contents. ``datatypes`` names those that the dtype does not tell (BF16)."""
    message = ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, array in arrays.items():
        told = (datatypes or {}).get(name)
        datatype = DATATYPES[told] if told else for_dtype(array.dtype)
        assert datatype is not None
        message.inputs.add(name=name, datatype=datatype.name, shape=array.shape)
        message.raw_input_contents.append(bytes(encode_raw(datatype, array)))
    for output in outputs:
        message.outputs.add(name=output)
    for name, value in (parameters or {}).items():
        message.parameters[name].CopyFrom(_parameter(value))
    return message


def gate_request(
    x: Sequence[Sequence[float]] | NDArray[np.float32] = ((1.0, 2.0),),
    *,
    index: int = 0,
    trips: int = 0,
    request_id: str = "",
) -> ModelInferRequest:
    """A request to the model ``gate``: the same index and trips for each row."""
    rows = np.asarray(x, np.float32)
    column = np.ones((len(rows), 1), np.int64)
    return infer_request("gate", request_id=request_id, x=rows, index=column * index, trips=column * trips)


def arrays_of(response: ModelInferResponse) -> dict[str, NDArray[Any]]:
    """Output name -> array, in the order of the answer. BYTES as ``bytes`` objects, BF16 as its bits."""
    assert len(response.outputs) == len(response.raw_output_contents), "one raw entry for each output"
    return {
        output.name: decode_raw(DATATYPES[output.datatype], tuple(output.shape), raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def encoded(message: Message | bytes) -> bytes:
    """Bytes of a message; bytes are taken as they are."""
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


def _parameter(value: bool | str | float) -> InferParameter:
    match value:
        case bool():
            return InferParameter(bool_param=value)
        case int():
            return InferParameter(int64_param=value)
        case float():
            return InferParameter(double_param=value)
        case _:
            return InferParameter(string_param=value)
