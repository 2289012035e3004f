"""Any text -> an unused Python identifier, readable if possible, and deterministic."""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = ["ModelNames", "field_names", "model_names"]

# Columns. The longest line that a name is on must stay within 80, or a formatter would fold it.
_WIDTH: Final = 30
# What generated modules import or define; see _module.py.
_MODULE_NAMES: Final = frozenset(
    {
        "CLIENT_DEFAULT",
        "SIGNATURE",
        "AsyncClient",
        "AsyncGeneratedModel",
        "AsyncIterator",
        "Client",
        "Final",
        "GeneratedModel",
        "Iterable",
        "Iterator",
        "Mapping",
        "ModelSignature",
        "NDArray",
        "ParameterValue",
        "Result",
        "TensorSpec",
        "Timeout",
        "dataclass",
        "np",
    }
)
# Reserved field names: other arguments of infer, other fields of the outputs, and names in annotations.
_FIELD_NAMES: Final = frozenset({"NDArray", "Result", "np", "parameters", "request_id", "result", "self", "timeout_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    """Names of what is generated for one model.

    Attributes:
        module: Name of its module, with an underscore.
        client: The class for ``Client``.
        async_client: The class for ``AsyncClient``.
        inputs: The dataclass of its inputs.
        outputs: The dataclass of its outputs.
    """

    module: str
    client: str
    async_client: str
    inputs: str
    outputs: str

    @classmethod
    def of(cls, base: str, module: str) -> ModelNames:
        """All names derived from a base name."""
        return cls(
            module=module, client=base, async_client=f"Async{base}", inputs=f"{base}Inputs", outputs=f"{base}Outputs"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The four public classes."""
        return (self.async_client, self.client, self.inputs, self.outputs)


def model_names(models: Iterable[str]) -> dict[str, ModelNames]:
    """Model -> names that collide with no other model's. Depends on the set of models only, not on their order."""
    found: dict[str, ModelNames] = {}
    classes: set[str] = set()
    modules: set[str] = set()
    # Short names first: `async-iris`, added later, must not take the name of `iris`'s class away.
    for model in sorted(models, key=lambda model: (len(model), model)):
        module = _free(f"_{_identifier(_ascii(model), 'model').lower()}", lambda name: name not in modules)
        base = _pascal(_identifier(model, "model"))
        if keyword.iskeyword(base) or not _MODULE_NAMES.isdisjoint(ModelNames.of(base, "").classes):
            base += "Model"
        base = _free(base, lambda name: classes.isdisjoint(ModelNames.of(name, "").classes))
        modules.add(module)
        found[model] = ModelNames.of(base, module)
        classes.update(found[model].classes)
    return found


def field_names(tensors: Iterable[str], fallback: str, reserved: Collection[str]) -> dict[str, str]:
    """Tensor -> name of its argument and field, in the given order.

    Args:
        tensors: Names on the wire.
        fallback: ``input`` or ``output``: stands where nothing of the name can.
        reserved: Names of classes in the same module.
    """
    found: dict[str, str] = {}
    taken = set(reserved)
    for tensor in tensors:
        name = _identifier(tensor, fallback)
        if name in _FIELD_NAMES or keyword.iskeyword(name):
            name += "_"
        found[tensor] = _free(name, lambda name: name not in taken)
        taken.add(found[tensor])
    return found


def _identifier(text: str, fallback: str) -> str:
    """The text with invalid characters replaced by underscores. It may be a keyword, or in use."""
    # Python normalises identifiers, so two that differ only in normalisation would be equal.
    text = unicodedata.normalize("NFKC", text)
    kept = "".join(letter if f"a{letter}".isidentifier() else "_" for letter in text)
    # Leading underscores would make it private or mangled.
    kept = _cut(re.sub("_+", "_", kept).strip("_"))
    kept = unicodedata.normalize("NFKC", kept)
    if kept.isidentifier():
        return kept
    return f"{fallback}_{kept}" if kept else fallback


def _cut(name: str) -> str:
    width = 0
    for position, letter in enumerate(name):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > _WIDTH:
            return name[:position].rstrip("_")
    return name


def _ascii(text: str) -> str:
    """ASCII only, because file systems normalise other letters differently."""
    return text.encode("ascii", "replace").decode()


def _pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _free(name: str, is_free: Callable[[str], bool]) -> str:
    """The name, with the first number that makes it unused if necessary."""
    candidate, number = name, 1
    while not is_free(candidate):
        number += 1
        candidate = f"{name}_{number}"
    return candidate
