"""Signatures -> the files of a package: a module for each model, and an ``__init__.py`` that imports from all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_client._errors import BadResponse
from sardonyx_client._signature import signature_hash
from sardonyx_client.generate._names import ModelNames, field_names, model_names
from sardonyx_client.generate._templates import CLASSES, IMPORTS, MARK
from sardonyx_client.generate._text import described, documented, escaped, literal, shape_literal
from sardonyx_wire.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sardonyx_client._signature import ModelSignature
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["MARK", "generate"]

_SCALARS: Final = {
    "BOOL": "np.bool_",
    "BYTES": "np.object_",
    "FP16": "np.float16",
    "FP32": "np.float32",
    "FP64": "np.float64",
    **{f"{sign}INT{bits}": f"np.{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}
# numpy has no bfloat16: inputs are of ml_dtypes, outputs are the raw bits.
_BF16_IN: Final = "np.generic"
_BF16_OUT: Final = "np.uint16"
_NOTES_IN: Final = {"BYTES": "; elements are str or bytes", "BF16": "; an array of ml_dtypes.bfloat16"}
_NOTES_OUT: Final = {"BYTES": "; elements are bytes, result.text(...) gives str", "BF16": "; the raw bits"}


@dataclass(frozen=True, slots=True)
class _Field:
    """One argument or field: Python name, tensor, type annotation."""

    name: str
    spec: TensorSpec
    annotation: str
    note: str

    def documented(self, indent: int) -> str:
        """Its line in a docstring."""
        wire = "" if self.name == self.spec.name else f"'{self.spec.name}' of the model: "
        optional = "; None = the model's own value" if self.spec.optional else ""
        return documented(f"{self.name}: {wire}{described(self.spec)}{self.note}{optional}.", indent)

    @property
    def declared(self) -> str:
        """Such as ``x: NDArray[np.float32]``."""
        return f"{self.name}: {self.annotation}" + (" | None = None" if self.spec.optional else "")


def generate(signatures: Iterable[ModelSignature]) -> dict[str, str]:
    """The files of a package.

    Args:
        signatures: Of models with different names, in any order. Names and labels of axes go into docstrings.

    Returns:
        Name of each file -> its text.

    Raises:
        BadResponse: A tensor is of a datatype that the protocol does not have, or two have one name.
    """
    models = {signature.model: signature for signature in signatures}
    names = model_names(models)
    files = {f"{names[model].module}.py": _module(models[model], names[model]) for model in sorted(models)}
    files["__init__.py"] = _package({model: names[model] for model in sorted(models)})
    files["py.typed"] = ""
    return files


def _package(models: dict[str, ModelNames]) -> str:
    lines = [MARK, '"""Typed classes of the models of a server:']
    lines += ["", *(escaped(f"{names.client}: model '{model}'") for model, names in models.items()), '"""', ""]
    for names in sorted(models.values(), key=lambda names: names.module):
        lines += [f"from .{names.module} import (", *(f"    {name}," for name in names.classes), ")"]
    every = sorted(name for names in models.values() for name in names.classes)
    lines += ["", "__all__ = [", *(f"    {literal(name)}," for name in every), "]"]
    return "\n".join(lines) + "\n"


def _module(signature: ModelSignature, names: ModelNames) -> str:
    model = signature.model
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        _check(model, kind, specs)
    inputs = _fields(signature.inputs, "input", names)
    # Arguments without a default come first.
    inputs = [*(each for each in inputs if not each.spec.optional), *(each for each in inputs if each.spec.optional)]
    outputs = _fields(signature.outputs, "output", names)
    ordered = tuple(each.spec for each in inputs)
    sha256 = signature_hash(model, signature.inputs, signature.outputs)
    subject = escaped(f"model '{model}'")
    return (
        MARK
        + f'\n"""Typed classes of {subject}."""\n'
        + IMPORTS
        + "\nSIGNATURE: Final = ModelSignature(\n"
        + f"    model={literal(model)},\n"
        + _specs("inputs", ordered)
        + _specs("outputs", signature.outputs)
        + f"    sha256={literal(sha256)},\n)\n"
        + _dataclass(names.inputs, f"Inputs of {subject}.", inputs, "")
        + _dataclass(
            names.outputs,
            f"Outputs of {subject}. Arrays are views of the answer, read-only.",
            outputs,
            "        result: The whole answer: version, request id, timings, text.\n",
        )
        + CLASSES.substitute(
            subject=subject,
            client=names.client,
            inputs=names.inputs,
            outputs=names.outputs,
            values=_tuple([f"inputs.{each.name}" for each in inputs]),
            arrays=("    arrays = SIGNATURE.arrays(result)\n" if outputs else "    SIGNATURE.arrays(result)\n"),
            taken="".join(f"        {each.name}=arrays[{index}],\n" for index, each in enumerate(outputs)),
            parameters="".join(f"        {each.declared},\n" for each in inputs),
            arguments="\n".join(each.documented(12) for each in inputs) + "\n" if inputs else "",
            given=_call(names.inputs, [f"{each.name}={each.name}" for each in inputs]),
        )
    )


def _check(model: str, kind: str, specs: Sequence[TensorSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        if spec.datatype not in DATATYPES:
            raise BadResponse(
                f"{kind} {spec.name!r} of model {model!r} is {spec.datatype!r}, expected one of {', '.join(DATATYPES)}"
            )
        if spec.name in seen:
            raise BadResponse(f"{kind} {spec.name!r} of model {model!r} is there twice")
        seen.add(spec.name)


def _fields(specs: Sequence[TensorSpec], kind: str, names: ModelNames) -> list[_Field]:
    given = field_names((spec.name for spec in specs), kind, names.classes)
    bf16, notes = (_BF16_IN, _NOTES_IN) if kind == "input" else (_BF16_OUT, _NOTES_OUT)
    return [
        _Field(
            given[spec.name],
            spec,
            f"NDArray[{_SCALARS.get(spec.datatype, bf16)}]",
            notes.get(spec.datatype, ""),
        )
        for spec in specs
    ]


def _specs(side: str, specs: Sequence[TensorSpec]) -> str:
    if not specs:
        return f"    {side}=(),\n"
    return (
        f"    {side}=(\n"
        + "".join(
            "        TensorSpec(\n"
            f"            name={literal(spec.name)},\n"
            f"            datatype={literal(spec.datatype)},\n"
            f"            shape={shape_literal(spec.shape, 12)},\n"
            + ("            optional=True,\n" if spec.optional else "")
            + "        ),\n"
            for spec in specs
        )
        + "    ),\n"
    )


def _dataclass(name: str, summary: str, fields: Sequence[_Field], more: str) -> str:
    attributes = "".join(each.documented(8) + "\n" for each in fields) + more
    declared = "".join(f"    {each.declared}\n" for each in fields) + ("    result: Result\n" if more else "")
    docstring = f"{summary}\n\n    Attributes:\n{attributes}    " if attributes else summary
    return (
        "\n\n@dataclass(frozen=True, slots=True, kw_only=True, eq=False)\n"
        f'class {name}:\n    """{docstring}"""\n' + (f"\n{declared}" if declared else "")
    )


def _tuple(items: Sequence[str]) -> str:
    if len(items) == 1:
        return f"({items[0]},)"  # formatters do not expand a tuple for this comma
    return "(\n" + "".join(f"        {item},\n" for item in items) + "    )" if items else "()"


def _call(name: str, arguments: Sequence[str]) -> str:
    if not arguments:
        return f"{name}()"
    return f"{name}(\n" + "".join(f"                {each},\n" for each in arguments) + "            )"
