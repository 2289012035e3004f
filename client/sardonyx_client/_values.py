"""What the client's methods return. Plain values, without a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sardonyx_wire.tensors import WireError, decode_utf8, object_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "CallRecord",
    "Duration",
    "IndexEntry",
    "ModelInfo",
    "ModelStatistics",
    "ParameterValue",
    "Result",
    "ServerInfo",
    "SharedMemoryRegion",
    "Timings",
]

ParameterValue = bool | int | float | str
"""Value of a request or response parameter."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Client-side durations of one call, in seconds.

    Attributes:
        encode_s: Serialising the request.
        call_s: From sending to the complete response, all attempts included.
    """

    encode_s: float = 0.0
    call_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The sum of both."""
        return self.encode_s + self.call_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result(Mapping[str, NDArray[Any]]):
    """Result of one inference request: a mapping from output name to array, in the order of the response.

    Attributes:
        model_name: The model that ran.
        model_version: The version that ran, even if the request named none.
        request_id: Id of the request.
        outputs: Output name -> array. Numbers are read-only views of the response: copy before writing. BF16 has its
            raw bits in ``uint16``. BYTES are ``bytes`` objects, because they need not be text; see :meth:`text`.
        parameters: Response parameters.
        timings: How long the call took.
    """

    model_name: str
    model_version: str
    request_id: str
    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, ParameterValue]
    timings: Timings = Timings()

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One output by name. Raises KeyError, which lists the existing outputs."""
        try:
            return self.outputs[name]
        except KeyError:
            known = ", ".join(map(repr, self.outputs)) or "none"
            raise KeyError(
                f"no output {name!r} in the answer of model {self.model_name!r}, which has {known}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        """Names of the outputs, in the order of the answer."""
        return iter(self.outputs)

    def __len__(self) -> int:
        """Number of outputs."""
        return len(self.outputs)

    def writable(self, name: str) -> NDArray[Any]:
        """A writable copy of one output. Raises KeyError, which lists the existing outputs."""
        return self[name].copy()

    def text(self, name: str) -> NDArray[Any]:
        """A BYTES output as an array of ``str``, of the same shape.

        Raises:
            KeyError: There is no such output.
            TypeError: It holds numbers.
            ValueError: An element is not UTF-8.
        """
        array = self[name]
        if array.dtype != object:
            raise TypeError(f"output {name!r} holds {array.dtype.name}, not text")
        try:
            return object_array(decode_utf8(array.ravel().tolist()), array.shape)
        except WireError as error:
            raise ValueError(f"output {name!r}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Metadata of a server.

    Attributes:
        name: Name of the server software.
        version: Version of the server software.
        extensions: Protocol extensions that it supports.
    """

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Signature of a model.

    Attributes:
        name: Name of the model.
        versions: All versions that are served.
        platform: Such as ``onnxruntime_onnx``.
        inputs: Shapes include the batch axis; -1 = any size.
        outputs: As for the inputs.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """The number of times something happened, and its total duration in seconds."""

    count: int
    total_s: float

    @property
    def mean_s(self) -> float:
        """Mean duration in seconds; 0 if it never happened."""
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """Statistics of one version of a model since it was loaded.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        last_inference_s: When it last ran, in seconds since 1970; 0 = never.
        inference_count: Rows.
        execution_count: Runs of the model; fewer than rows if requests were batched.
        success: Requests that succeeded, from arrival to response.
        fail: Requests that failed.
        queue: Time in the queue.
        compute_input: Preparing the model's inputs.
        compute_infer: Running the model.
        compute_output: Building responses.
        cache_hit: Responses from the response cache.
        cache_miss: Look-ups in the response cache without a hit.
        batches: Rows of a run -> number of runs with so many rows.
    """

    name: str
    version: str
    last_inference_s: float
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration
    batches: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One version of a model in the server's repositories.

    Attributes:
        name: Name of the model.
        version: "" if none was ever loaded.
        state: ``READY``, ``UNAVAILABLE``, ``LOADING``, ``UNLOADING``, or "" if it was never loaded.
        reason: Why it is not ready.
    """

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemoryRegion:
    """A registered region of system shared memory.

    Attributes:
        name: Name by which requests refer to it.
        key: Name of the POSIX shared memory object.
        offset_bytes: Offset of the region in the object.
        size_bytes: Size of the region.
    """

    name: str
    key: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, for a metrics hook.

    Attributes:
        rpc: Name of the RPC, such as ``ModelInfer``.
        model: Name of the model; "" = the call concerns none.
        code: ``OK`` or the name of the error status.
        seconds: From sending to the complete response, all attempts included.
        request_bytes: Size of the request message.
        response_bytes: Size of the response message; 0 if there was none.
    """

    rpc: str
    model: str
    code: str
    seconds: float
    request_bytes: int
    response_bytes: int
