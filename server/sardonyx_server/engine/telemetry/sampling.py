"""Which requests are traced: settings of the server and of each model, effective from the next request on.

Settings are values that never change; an update puts a new one in the old one's place. The way in reads one attribute
while tracing is off. While it is on, it takes an item of an iterator for each request, and asks no further as long as
there is one. Writes no traces.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.engine.telemetry.tracing import Trace, read_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sardonyx_server.engine.call import Call
    from sardonyx_server.engine.telemetry.tracing import TraceSink

__all__ = ["UNLIMITED", "NoTracing", "Sampler", "TraceSettings"]

UNLIMITED: Final = -1
_NS_PER_S: Final = 1_000_000_000
# Of those that come nobody is passed over.
_NOBODY: Final[Iterator[None]] = repeat(None, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """How requests are chosen. Defaults are Triton's.

    Attributes:
        traces: Whether any are.
        rate: One in this many.
        count: How many more; UNLIMITED for all.
        group: Traces that are kept before they are written together; 0 and 1 write each at once.
    """

    traces: bool = False
    rate: int = 1000
    count: int = UNLIMITED
    group: int = 0


class NoTracing:
    """A tracer that is off for good."""

    on = False
    passed_over: Mapping[str, Iterator[None]] = MappingProxyType({})

    def begin(self, _model: str, _call: Call, _id_field: bytes, _received_s: float, _transport: str) -> None:
        """Choose nothing."""


class _TraceBudget:
    """How many more requests may be traced. Thread-safe; asked for requests that are chosen only."""

    __slots__ = ("_lock", "left")

    def __init__(self, left: int) -> None:
        self._lock = threading.Lock()
        self.left = left

    def take(self) -> bool:
        with self._lock:
            if self.left > 0:
                self.left -= 1
                return True
            return self.left == UNLIMITED


class _ModelSampler:
    """Counts the requests of one model.

    Attributes:
        countdown: As many items as requests come before the next that is chosen. Several threads may take them without
            a lock, for ``next`` is one step of the interpreter.
    """

    __slots__ = ("budget", "countdown", "settings")

    def __init__(self, settings: TraceSettings, budget: _TraceBudget, before: _ModelSampler | None) -> None:
        self.settings = settings
        self.budget = budget
        same = before is not None and before.settings.rate == settings.rate
        self.countdown: Iterator[None] = before.countdown if before is not None and same else _countdown(settings.rate)


def _countdown(rate: int) -> Iterator[None]:
    return repeat(None, rate - 1)


class Sampler:
    """Chooses one request in so many of each model. A :class:`~sardonyx_server.engine.telemetry.tracing.Tracer`.

    Args:
        initial: What the operator set for the server.
        sink: Where traces go.
        knows: Whether a model of this name exists; others get no counter.
        parent_based: Whether the sampled flag of a caller's own trace decides in place of the counter.
    """

    def __init__(
        self, initial: TraceSettings, *, sink: TraceSink, knows: Callable[[str], bool], parent_based: bool
    ) -> None:
        self._initial = self._server = initial
        self._sink = sink
        self._knows = knows
        self._parent_based = parent_based
        self._lock = threading.Lock()
        self._own: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
        self._budget = _TraceBudget(initial.count)
        self._model_budgets: dict[str, _TraceBudget] = {}
        self._samplers: dict[str, _ModelSampler] = {}
        self.on = initial.traces
        self.passed_over: dict[str, Iterator[None]] = {}

    def begin(self, model: str, call: Call, id_field: bytes, received_s: float, transport: str) -> Trace | None:
        """The trace of a request that has come, or None where it was not chosen."""
        sampler = self._samplers.get(model) or self._new_sampler(model)
        if sampler is None or not sampler.settings.traces:
            return None
        parent = read_parent(call.metadata) if self._parent_based else None
        chosen = self._is_next(model) if parent is None else parent.sampled
        if not chosen or not sampler.budget.take():
            return None
        return Trace(
            self._sink,
            model=model,
            id_field=id_field,
            transport=transport,
            parent=parent or read_parent(call.metadata),
            received_ns=int(received_s * _NS_PER_S),
            group=sampler.settings.group,
        )

    def settings(self, model: str = "") -> TraceSettings:
        """What is in force for a model, or "" for the server; ``count`` is what is left of it."""
        with self._lock:
            budget = self._model_budgets.get(model, self._budget)
            return replace(self._effective(model), count=budget.left)

    def update(self, changes: Mapping[str, int | None], model: str = "") -> TraceSettings:
        """Change settings of a model, or "" of the server, from the next request on.

        Args:
            changes: Field of :class:`TraceSettings` -> value, checked. None goes back: a model's to the server's, the
                server's to the one at start.
            model: A name that is known.

        Returns:
            What is in force then.
        """
        with self._lock:
            if model:
                self._change_own(model, changes)
            else:
                given: dict[str, Any] = {
                    name: getattr(self._initial, name) if value is None else value for name, value in changes.items()
                }
                self._server = replace(self._server, **given)
                if "count" in changes:
                    self._budget = _TraceBudget(self._server.count)
            self._samplers = {
                name: self._made(name, before) for name, before in (dict.fromkeys(self._own) | self._samplers).items()
            }
            self.passed_over = {name: self._passed_over(sampler) for name, sampler in self._samplers.items()}
            self.on = self._server.traces or any(sampler.settings.traces for sampler in self._samplers.values())
        return self.settings(model)

    def _change_own(self, model: str, changes: Mapping[str, int | None]) -> None:
        own = {**self._own.get(model, {}), **changes}
        if "count" in changes:
            self._model_budgets.pop(model, None)
            if changes["count"] is not None:
                self._model_budgets[model] = _TraceBudget(changes["count"])
        kept = {name: value for name, value in own.items() if value is not None}
        others = {name: settings for name, settings in self._own.items() if name != model}
        self._own = MappingProxyType({**others, model: MappingProxyType(kept)} if kept else others)

    def _effective(self, model: str) -> TraceSettings:
        own = self._own.get(model)
        return replace(self._server, **own) if own else self._server

    def _made(self, model: str, before: _ModelSampler | None) -> _ModelSampler:
        budget = self._model_budgets.get(model, self._budget)
        return _ModelSampler(self._effective(model), budget, before)

    def _new_sampler(self, model: str) -> _ModelSampler | None:
        # Names come from callers: only those of models are remembered.
        if not self._knows(model):
            return None
        with self._lock:
            sampler = self._samplers.get(model)
            if sampler is None:
                sampler = self._samplers[model] = self._made(model, None)
                self.passed_over[model] = self._passed_over(sampler)
            return sampler

    def _is_next(self, model: str) -> bool:
        """Count a request. Whether it is one in so many."""
        with self._lock:
            sampler = self._samplers[model]
            # Looked at once more: another thread may have begun to count anew since this request found nothing left.
            if not next(sampler.countdown, True):
                return False
            sampler.countdown = _countdown(sampler.settings.rate)
            self.passed_over[model] = self._passed_over(sampler)
            return True

    def _passed_over(self, sampler: _ModelSampler) -> Iterator[None]:
        """See :class:`~sardonyx_server.engine.telemetry.tracing.Tracer`."""
        if not sampler.settings.traces:
            return repeat(None)
        # Where a caller's own trace decides, each request must be looked at.
        return _NOBODY if self._parent_based else sampler.countdown
