"""Trace sampling: which requests are traced, by settings of the server and of each model.

Settings are immutable; an update replaces them, effective from the next request on. While tracing is off, the hot path
reads one attribute. While it is on, it takes an item of an iterator for each request, and calls the sampler only when
none is left. Writes no traces.
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
# No request is skipped.
_NO_SKIPS: Final[Iterator[None]] = repeat(None, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Settings of trace sampling. Defaults are Triton's.

    Attributes:
        traces: Whether tracing is on.
        rate: One request in this many is sampled.
        count: How many more requests to sample; UNLIMITED = no limit.
        group: Traces that are buffered and written together; 0 and 1 write each at once.
    """

    traces: bool = False
    rate: int = 1000
    count: int = UNLIMITED
    group: int = 0


class NoTracing:
    """A tracer that samples nothing."""

    on = False
    unsampled: Mapping[str, Iterator[None]] = MappingProxyType({})

    def begin(self, _model: str, _call: Call, _id_field: bytes, _received_s: float, _transport: str) -> None:
        """Sample nothing."""


class _TraceBudget:
    """How many more requests may be traced. Thread-safe; only used for sampled requests."""

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
    """Sampling state of one model.

    Attributes:
        countdown: Has one item for each request before the next one to sample. Several threads may take items without a
            lock, because ``next`` on it is atomic under the GIL.
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
    """Samples one in ``rate`` requests of each model. A :class:`~sardonyx_server.engine.telemetry.tracing.Tracer`.

    Args:
        initial: The operator's settings of the server.
        sink: Receives the traces.
        knows: Returns whether a model of this name exists; other names get no state.
        parent_based: Whether the sampled flag of the caller's trace decides, instead of the rate.
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
        self.unsampled: dict[str, Iterator[None]] = {}

    def begin(self, model: str, call: Call, id_field: bytes, received_s: float, transport: str) -> Trace | None:
        """Begin the trace of a received request; None if it is not sampled."""
        sampler = self._samplers.get(model) or self._add_sampler(model)
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
        """Return the effective settings of a model, or "" of the server; ``count`` is the rest of it."""
        with self._lock:
            budget = self._model_budgets.get(model, self._budget)
            return replace(self._effective(model), count=budget.left)

    def update(self, changes: Mapping[str, int | None], model: str = "") -> TraceSettings:
        """Change settings of a model, or "" of the server, from the next request on.

        Args:
            changes: Field of :class:`TraceSettings` -> validated value. None resets it: a model's to the server's, the
                server's to the one at start.
            model: Name of a known model.

        Returns:
            The effective settings after the change.
        """
        with self._lock:
            if model:
                self._update_model(model, changes)
            else:
                given: dict[str, Any] = {
                    name: getattr(self._initial, name) if value is None else value for name, value in changes.items()
                }
                self._server = replace(self._server, **given)
                if "count" in changes:
                    self._budget = _TraceBudget(self._server.count)
            self._samplers = {
                name: self._new_state(name, before)
                for name, before in (dict.fromkeys(self._own) | self._samplers).items()
            }
            self.unsampled = {name: self._unsampled_requests(sampler) for name, sampler in self._samplers.items()}
            self.on = self._server.traces or any(sampler.settings.traces for sampler in self._samplers.values())
        return self.settings(model)

    def _update_model(self, model: str, changes: Mapping[str, int | None]) -> None:
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

    def _new_state(self, model: str, before: _ModelSampler | None) -> _ModelSampler:
        budget = self._model_budgets.get(model, self._budget)
        return _ModelSampler(self._effective(model), budget, before)

    def _add_sampler(self, model: str) -> _ModelSampler | None:
        # Names come from callers: only those of models get a state.
        if not self._knows(model):
            return None
        with self._lock:
            sampler = self._samplers.get(model)
            if sampler is None:
                sampler = self._samplers[model] = self._new_state(model, None)
                self.unsampled[model] = self._unsampled_requests(sampler)
            return sampler

    def _is_next(self, model: str) -> bool:
        """Count a request, and return whether it is to be sampled."""
        with self._lock:
            sampler = self._samplers[model]
            # Checked again: another thread may have restarted the countdown since this request found it empty.
            if not next(sampler.countdown, True):
                return False
            sampler.countdown = _countdown(sampler.settings.rate)
            self.unsampled[model] = self._unsampled_requests(sampler)
            return True

    def _unsampled_requests(self, sampler: _ModelSampler) -> Iterator[None]:
        """See :class:`~sardonyx_server.engine.telemetry.tracing.Tracer`."""
        if not sampler.settings.traces:
            return repeat(None)
        # Where the caller's trace decides, each request must be checked.
        return _NO_SKIPS if self._parent_based else sampler.countdown
