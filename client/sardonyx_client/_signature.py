"""The model signature that code was generated from, and how a server's model differs from it. No I/O."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sardonyx_client._errors import BadResponse, InvalidArgument, ModelChanged
from sardonyx_client._model import check_inputs
from sardonyx_client._values import ModelInfo
from sardonyx_wire.datatypes import DATATYPES, for_dtype
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sardonyx_client._values import Result

__all__ = ["ModelSignature", "signature_hash"]

_ADVICE = "generate the code again with 'sardonyx client generate'"


def signature_hash(model: str, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> str:
    """SHA-256 of names, datatypes and shapes, in hexadecimal. The order of tensors does not matter: they have names."""
    sides = [sorted((each.name, each.datatype, each.shape or ()) for each in side) for side in (inputs, outputs)]
    return hashlib.sha256(json.dumps([model, *sides], ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """Signature of one model as it was when code was generated from it.

    Attributes:
        model: Its name.
        inputs: In the order of the generated arguments.
        outputs: In the order of the generated fields.
        sha256: Of all this, by :func:`signature_hash`; "" where it was not computed yet.
    """

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: str = ""

    def check(self, found: ModelInfo) -> None:
        """Compare with the signature of a server's model.

        Raises:
            ModelChanged: They differ; the message says how.
        """
        if signature_hash(self.model, found.inputs, found.outputs) == self.sha256:
            return
        changes = [
            *_changes("input", self.inputs, found.inputs),
            *_changes("output", self.outputs, found.outputs),
        ]
        if changes:
            raise ModelChanged(
                f"model {self.model!r} has changed since this code was generated: {'; '.join(changes)}; {_ADVICE}"
            )

    def bind(self, values: Sequence[ArrayLike | None]) -> dict[str, NDArray[Any]]:
        """Arguments in the order of ``inputs`` -> checked arrays by name; None is omitted.

        Raises:
            InvalidArgument: An argument does not match, or is missing.
        """
        given: dict[str, ArrayLike] = {}
        for spec, value in zip(self.inputs, values, strict=True):
            if value is not None:
                given[spec.name] = value
            elif not spec.optional:
                raise InvalidArgument(
                    f"input {spec.name!r} of model {self.model!r} is missing: expected {spec.describe()}"
                )
        info = ModelInfo(name=self.model, versions=(), platform="", inputs=self.inputs, outputs=self.outputs)
        return check_inputs(info, given)

    def arrays(self, result: Result) -> tuple[NDArray[Any], ...]:
        """Outputs of a result in the order of ``outputs``.

        Raises:
            ModelChanged: An output has another datatype, for example because the model was replaced meanwhile.
            BadResponse: An output is missing.
        """
        found: list[NDArray[Any]] = []
        for spec in self.outputs:
            array = result.outputs.get(spec.name)
            if array is None:
                raise BadResponse(f"output {spec.name!r} of model {self.model!r} is not in the answer")
            # The shape is not checked: exporters often declare wrong output shapes, and nothing depends on them.
            if array.dtype != DATATYPES[spec.datatype].dtype:
                came = for_dtype(array.dtype)
                raise ModelChanged(
                    f"model {self.model!r} has changed since this code was generated: output {spec.name!r} was "
                    f"{spec.datatype}, came as {array.dtype.name if came is None else came.name}; {_ADVICE}"
                )
            found.append(array)
        return tuple(found)


def _changes(kind: str, ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> Iterator[str]:
    found = {spec.name: spec for spec in theirs}
    for spec in ours:
        now = found.pop(spec.name, None)
        if now is None:
            yield f"{kind} {spec.name!r} is gone"
        elif now.datatype != spec.datatype or not (
            _shapes_equal(now.shape, spec.shape) or (kind == "output" and _equal_but_for_rows(now.shape, spec.shape))
        ):
            yield f"{kind} {spec.name!r} was {spec.describe()}, is {now.describe()}"
    for spec in found.values():
        yield f"{kind} {spec.name!r} is new: {spec.describe()}"


def _shapes_equal(now: tuple[int, ...] | None, before: tuple[int, ...] | None) -> bool:
    # A graph may leave a shape undeclared. Metadata cannot express that: it has [], or [-1] if there are rows.
    return now == before or ((before is None or now is None) and (now or before or ()) in {(), (-1,)})


def _equal_but_for_rows(now: tuple[int, ...] | None, before: tuple[int, ...] | None) -> bool:
    # A graph may declare an output as one row although it has more, which a server that has run it may know.
    if not now or not before:
        return False
    return {now[0], before[0]} == {1, -1} and now[1:] == before[1:]
