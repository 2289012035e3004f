"""What the client answers with. Plain values: no connection behind them."""

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
    """How long the parts of one call took on this side, in seconds.

    Attributes:
        encode_s: Making the request's message.
        call_s: From sending to the whole answer, all attempts together.
    """

    encode_s: float = 0.0
    call_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.encode_s + self.call_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result(Mapping[str, NDArray[Any]]):
    """Answer to one inference request: a mapping from output name to array, in the order of the answer.

    Attributes:
        model_name: The model that ran.
        model_version: The version that ran, also where the request named none.
        request_id: The request's own.
        outputs: Output name -> array. Numbers are read-only views of the answer: copy before writing. BF16 comes as
            its raw bits in ``uint16``. BYTES come as ``bytes`` objects, for they need not be text; see :meth:`text`.
        parameters: What the server said beside the data.
        timings: How long the call took.
    """

    model_name: str
    model_version: str
    request_id: str
    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, ParameterValue]
    timings: Timings = Timings()

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One output by its name. Raises KeyError, naming those there are."""
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
        """A copy of one output that may be written to. Raises KeyError, naming those there are."""
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
    """What a server says about itself.

    Attributes:
        name: Of the server software.
        version: Of the server software.
        extensions: Extensions of the protocol that it offers.
    """

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Signature of a model.

    Attributes:
        name: Of the model.
        versions: All that are served.
        platform: Such as ``onnxruntime_onnx``.
        inputs: With the batch axis; -1 is any size.
        outputs: As the inputs.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Something that happened ``count`` times and took ``total_s`` seconds in all."""

    count: int
    total_s: float

    @property
    def mean_s(self) -> float:
        """Seconds each; 0 where it never happened."""
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What one version of a model has done since it was loaded.

    Attributes:
        name: Of the model.
        version: Of the model.
        last_inference_s: When it last ran, in seconds since 1970; 0 = never.
        inference_count: Rows.
        execution_count: Runs of the model; fewer than rows where requests were batched.
        success: Requests that were answered, from arrival to answer.
        fail: Requests that failed.
        queue: Waiting.
        compute_input: Making the model's inputs.
        compute_infer: Running the model.
        compute_output: Making answers.
        cache_hit: Answers from the response cache.
        cache_miss: Looked up in vain.
        batches: Rows of a run -> how often it ran with so many.
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
        name: Of the model.
        version: "" where none was ever loaded.
        state: ``READY``, ``UNAVAILABLE``, ``LOADING``, ``UNLOADING``, or "" where it was never loaded.
        reason: Why it is not ready.
    """

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemoryRegion:
    """A region of system shared memory that the server was told of.

    Attributes:
        name: Under which requests speak of it.
        key: Name of the POSIX shared memory object.
        offset_bytes: Where the region begins in the object.
        size_bytes: Of the region.
    """

    name: str
    key: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, for a metrics hook.

    Attributes:
        rpc: Name, such as ``ModelInfer``.
        model: Name of the model; "" where the call is about none.
        code: ``OK`` or the name of the status.
        seconds: From sending to the whole answer, all attempts together.
        request_bytes: Size of the request's message.
        response_bytes: Size of the answer's; 0 where there was none.
    """

    rpc: str
    model: str
    code: str
    seconds: float
    request_bytes: int
    response_bytes: int
