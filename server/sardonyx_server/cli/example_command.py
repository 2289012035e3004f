"""Builds an example ``infer`` command for a model that is loaded: program, model, inputs, address.

The command must work when pasted into another terminal with any current folder; the caller therefore passes the full
path of the program.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sardonyx_server.cli.views import ModelView
from sardonyx_server.text import host_and_port
from sardonyx_wire.tensors import TensorSpec

__all__ = ["DEFAULT_ADDRESS", "address_for_clients", "example_argument", "example_command"]

DEFAULT_ADDRESS = "127.0.0.1:8001"
# Longer inputs would not fit on a line; they become zeros.
_SHOWN_ELEMENTS = 16
_FRACTIONS = frozenset({"FP16", "FP32", "FP64", "BF16"})


def example_command(
    models: Sequence[ModelView], *, program: Sequence[str], address: str, tls: Sequence[str] = ()
) -> str | None:
    """A shell command that sends a request to one of the models; None if no model is ready.

    Args:
        models: The served models.
        program: The command that starts this program, as separate words.
        address: Where the server listens, as ``infer --url`` takes it.
        tls: Options of ``infer`` for TLS.
    """
    ready = [view for view in models if view.is_ready]
    if not ready:
        return None
    view = min(ready, key=_simplicity)
    words = [*program, "infer", view.name]
    shapes = _shapes(view)
    words += [example_argument(spec, shapes.get(spec.name)) for spec in view.inputs if not spec.optional]
    if address != DEFAULT_ADDRESS:
        words += ["--url", address]
    return shlex.join([*words, *tls])


def example_argument(spec: TensorSpec, shape: tuple[int, ...] | None = None) -> str:
    """``name=value`` with small whole numbers, or ``name=@zeros`` for a value that would not fit on a line.

    Args:
        spec: An input.
        shape: A shape known to work; None = the declared one, with 1 for each dynamic axis.
    """
    known = "" if shape is None else f"[{','.join(map(str, shape))}]"
    if shape is None:
        shape = tuple(1 if axis < 0 else axis for axis in spec.shape or ())
    if _elements(shape) > _SHOWN_ELEMENTS:
        return f"{spec.name}=@zeros{known}"
    counter = iter(range(1, _SHOWN_ELEMENTS + 1))
    value = _nested(shape, lambda: _sample(spec.datatype, next(counter)))
    return f"{spec.name}={json.dumps(value, separators=(',', ':'))}"


def address_for_clients(host: str, port: int) -> str:
    """The address at which a client on this machine reaches a server that listens on ``host``."""
    bare = host.strip("[]")
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104  # compared, not listened on
    return host_and_port(reachable, port)


def _shapes(view: ModelView) -> Mapping[str, tuple[int, ...]]:
    """Input shapes for models with dynamic axes for which a size of 1 may be too small, such as images and audio.

    Empty for models that take only integers: a single token works, while a mask of zeros may not.
    """
    needed = [spec for spec in view.inputs if not spec.optional]
    opened = [spec for spec in needed if spec.shape is None or any(axis < 0 for axis in spec.shape[1:])]
    tried = view.tried_shapes
    ranks_agree = all(spec.shape is None or len(tried.get(spec.name, ())) == len(spec.shape) for spec in needed)
    return tried if ranks_agree and any(spec.datatype in _FRACTIONS for spec in opened) else {}


def _simplicity(view: ModelView) -> tuple[bool, bool, int, int, str]:
    """Sort key: models for which a made-up input is most plausible first (fixed shapes, numbers, few elements)."""
    needed = [spec for spec in view.inputs if not spec.optional]
    shapes = [spec.shape for spec in needed]
    free = any(shape is None or any(axis < 0 for axis in shape[1:]) for shape in shapes)
    strings = any(spec.datatype == "BYTES" for spec in needed)
    size = sum(_elements(tuple(1 if axis < 0 else axis for axis in shape or ())) for shape in shapes)
    # A single number makes a poorer example than a row of features.
    return free, strings, len(needed), size if size > 1 else _SHOWN_ELEMENTS, view.name


def _sample(datatype: str, position: int) -> Any:
    if datatype == "BYTES":
        return "abc"
    if datatype == "BOOL":
        return True
    return float(position) if datatype in _FRACTIONS else position


def _nested(shape: tuple[int, ...], leaf: Any) -> Any:
    return leaf() if not shape else [_nested(shape[1:], leaf) for _ in range(shape[0])]


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for axis in shape:
        count *= axis
    return count
