"""Python source that formatters do not change: literals, and text in docstrings."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["described", "documented", "escaped", "literal", "shape_literal"]

# Formatters do not wrap lines up to this width, the smallest in common use.
_WIDTH: Final = 79
_SHOWN_LABELS: Final = 10


def literal(text: str) -> str:
    """A string literal. Quotes are escaped, because a formatter would choose other quotes otherwise."""
    return f'"{escaped(text)}"'


def shape_literal(shape: Sequence[int] | None, indent: int) -> str:
    """A tuple or None; one size in each line if it is long."""
    if shape is None:
        return "None"
    inline = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    if indent + len("shape=") + len(inline) + 1 <= _WIDTH:
        return inline
    pad = " " * indent
    return "(\n" + "".join(f"{pad}    {size},\n" for size in shape) + f"{pad})"


def described(spec: TensorSpec) -> str:
    """Datatype, shape and labels as text: ``FP32 [batch,4]``, with names of axes if known."""
    if spec.shape is None:
        text = f"{spec.datatype} of any shape"
    else:
        names = spec.dim_names or ("",) * len(spec.shape)
        sizes = ",".join(
            name if size == -1 and name else str(size) for size, name in zip(spec.shape, names, strict=True)
        )
        text = f"{spec.datatype} [{sizes}]"
    if spec.labels:
        shown = ", ".join(spec.labels[:_SHOWN_LABELS])
        more = len(spec.labels) - _SHOWN_LABELS
        text += f". Labels: {shown}" + (f" and {more} more" if more > 0 else "")
    return text


def documented(text: str, indent: int) -> str:
    """One item of a docstring's list: escaped, wrapped, indented by ``indent``, continued with four more."""
    return "\n".join(
        textwrap.wrap(
            escaped(text),
            _WIDTH,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 4),
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def escaped(text: str) -> str:
    """Text escaped for a literal or a docstring in double quotes."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character == '"':
        return r"\x22"
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
