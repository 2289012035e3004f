"""Session parameters of a model (threads, memory arena, graph optimisation), read from a ModelConfig as in Triton."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.messages import ModelConfig

__all__ = ["PARAMETERS", "SessionTuning", "read_tuning"]

GraphLevel = Literal["all", "extended", "basic", "off"]

# optimization.graph.level, as Triton's onnxruntime backend reads it.
_GRAPH_LEVELS: Final[Mapping[int, GraphLevel]] = {0: "all", 1: "extended", -1: "basic", 2: "off"}
_SHRINKAGE: Final = "memory.enable_memory_arena_shrinkage"
# Allowed session keys: they affect speed, memory or rounding, and name no file.
_SESSION_KEYS: Final = frozenset(
    {
        "session.disable_prepacking",
        "session.dynamic_block_base",
        "session.set_denormal_as_zero",
        "session.use_device_allocator_for_initializers",
    }
)
_MAX_THREADS: Final = 1024
# int() rejects numbers with thousands of digits.
_MAX_DIGITS: Final = 9

PARAMETERS: Final = frozenset(
    {
        "enable_mem_arena",
        "enable_mem_pattern",
        "execution_mode",
        "inter_op_thread_count",
        "intra_op_thread_count",
        _SHRINKAGE,
        *_SESSION_KEYS,
    }
)
"""Keys of ``ModelConfig.parameters`` that :func:`read_tuning` understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTuning:
    """Tunable parameters of a session.

    Attributes:
        intra_op_threads: Threads within one operator; None = determined by the server.
        inter_op_threads: Threads across operators; used only if ``parallel``.
        parallel: Run independent branches of the graph in parallel.
        mem_arena: Keep freed memory for the next run.
        mem_pattern: Plan the memory of a shape once, at its second run.
        arena_shrinkage: onnxruntime's list such as ``cpu:0;gpu:0`` of arenas to shrink after each run; empty = none.
        graph_level: How far the graph is optimised at load.
        entries: Further session keys of onnxruntime.
    """

    intra_op_threads: int | None = None
    inter_op_threads: int | None = None
    parallel: bool = False
    mem_arena: bool = True
    mem_pattern: bool = True
    arena_shrinkage: str = ""
    graph_level: GraphLevel = "all"
    entries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def read_tuning(config: ModelConfig) -> SessionTuning:
    """Read the parameters from a config; other parameters are ignored.

    Raises:
        LoadFailed: A value is invalid; names the parameter and what is expected.
    """
    values = {key: value.string_value for key, value in config.parameters.items() if key in PARAMETERS}

    # Each instance group has a session with its own threads.
    most_threads = _MAX_THREADS // max(1, len(config.instance_group))

    def flag(key: str, default: str) -> bool:
        value = values.get(key, default)
        if value not in ("0", "1"):
            raise _wrong(config, key, "0 or 1", value)
        return value == "1"

    def threads(key: str) -> int | None:
        value = values.get(key, "0")
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS and int(value) <= most_threads):
            raise _wrong(config, key, f"a whole number from 0 (found by the server) to {most_threads}", value)
        return int(value) or None

    level = config.optimization.graph.level
    if level not in _GRAPH_LEVELS:
        raise _wrong(config, "optimization.graph.level", "-1, 0, 1 or 2", level)
    shrinkage = values.get(_SHRINKAGE, "")
    if shrinkage and not all(_is_arena(part) for part in shrinkage.split(";")):
        raise _wrong(config, _SHRINKAGE, "a list such as cpu:0;gpu:0", shrinkage)
    parallel = flag("execution_mode", "0")
    return SessionTuning(
        intra_op_threads=threads("intra_op_thread_count"),
        inter_op_threads=threads("inter_op_thread_count"),
        parallel=parallel,
        mem_arena=flag("enable_mem_arena", "1"),
        # onnxruntime plans memory only for sequential execution.
        mem_pattern=flag("enable_mem_pattern", "1") and not parallel,
        arena_shrinkage=shrinkage,
        graph_level=_GRAPH_LEVELS[level],
        entries=MappingProxyType({key: values[key] for key in sorted(_SESSION_KEYS & values.keys())}),
    )


def _is_arena(text: str) -> bool:
    device, _, number = text.partition(":")
    return device in ("cpu", "gpu") and number.isascii() and number.isdigit()


def _wrong(config: ModelConfig, key: str, expected: str, value: Any) -> LoadFailed:
    return LoadFailed(f"model {quoted(config.name)}: {key}: expected {expected}, got {quoted(str(value))}")
