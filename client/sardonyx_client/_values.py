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

__all__ = ["ModelInfo", "ParameterValue", "Result", "ServerInfo"]

ParameterValue = bool | int | float | str
"""Value of a request or response parameter."""


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
    """

    model_name: str
    model_version: str
    request_id: str
    outputs: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, ParameterValue]

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
