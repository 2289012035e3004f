"""Whether a caller that is alone gets a session with all cores; runs take what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from sardonyx_server.engine.loading.latency_session import MAX_MODEL_BYTES, MIN_RUN_S, open_latency_session
from sardonyx_server.engine.loading.load_context import LoadContext
from sardonyx_server.engine.profiling.verdict import CurvePoint, Verdict
from sardonyx_server.engine.session import Session
from sardonyx_server.errors import ExecutionFailed
from tests.server.engine.doubles import Array, FakeSession, doubling, rows_of

_VERDICT = Verdict(batchable=False, reason="of a test", curve=(CurvePoint(rows=1, seconds=0.005),))


@dataclass
class FakeOpening:
    """A version whose sessions are doubles."""

    latency_session: FakeSession
    model_bytes: int = 1000
    placement: Any = field(
        default_factory=lambda: SimpleNamespace(instances=[SimpleNamespace(providers=("CPUExecutionProvider",))])
    )
    opened: list[int] = field(default_factory=list)

    def open_session(self, _providers: Any, *, threads: int) -> FakeSession:
        """Keep the number of threads."""
        self.opened.append(threads)
        return self.latency_session

    def random_inputs(self, _verdict: Verdict, rows: int) -> dict[str, Array]:
        """Rows that tell whose they are."""
        return {"x": rows_of(1, rows)}


def decide(
    context: FakeOpening,
    *,
    shared: FakeSession | None = None,
    wide_ms: float = 2.9,
    verdict: Verdict = _VERDICT,
    cores: int = 2,
    known: bool | None = None,
) -> tuple[Session | None, str]:
    """With a shared session whose runs take 5 ms with one thread, and 4 ms with more."""

    def measure(session: Any, _feeds: Mapping[str, Any], enough_s: float, budget_s: float) -> float:
        assert budget_s == pytest.approx(0.2)
        if session is context.latency_session:
            assert enough_s == pytest.approx(0.00375 if session_shared.threads == 1 else 0.003)
            return wide_ms * 1e-3
        assert session.threads > 1
        return 0.004

    session_shared = shared or doubling()
    return open_latency_session(
        cast("LoadContext", context),
        session_shared,
        verdict,
        cores=cores,
        budget_s=1.0,
        known=known,
        measure=measure,
    )


def test_it_gets_one_where_that_takes_less_time() -> None:
    """With a thread on each core; people hear of it."""
    context = FakeOpening(doubling())
    session, told = decide(context)
    assert session is context.latency_session
    assert told == "; sequential requests run on 2 threads: 2.9 ms instead of 5.0 ms"
    assert (context.opened, context.latency_session.closed) == ([2], 0)


def test_it_gets_none_where_that_gains_little() -> None:
    """It would keep the others waiting for longer than it gains."""
    context = FakeOpening(doubling())
    assert decide(context, wide_ms=4.0) == (None, "")
    assert context.latency_session.closed == 1


@pytest.mark.parametrize(("wide_ms", "gets"), [(2.9, True), (3.1, False)])
def test_it_is_held_against_the_threads_that_a_shared_run_has(wide_ms: float, *, gets: bool) -> None:
    """The probe's runs have one thread: what a run with two takes is measured."""
    context, shared = FakeOpening(doubling()), doubling()
    shared.threads = 2
    session, told = decide(context, shared=shared, wide_ms=wide_ms, cores=4)
    assert (session is context.latency_session) == gets
    assert told == ("; sequential requests run on 4 threads: 2.9 ms instead of 4.0 ms" if gets else "")


def test_it_gets_none_where_its_answer_would_be_another() -> None:
    """Sums may depend on the number of threads, and what one caller gets must not depend on the others."""
    context = FakeOpening(FakeSession(lambda feeds: [np.nextafter(feeds["x"] * 2, np.float32(99))]))
    assert decide(context) == (None, "")
    assert context.latency_session.closed == 1


def test_answers_of_strings_are_compared_too() -> None:
    """As text: their bytes are addresses."""

    def answer(_feeds: Mapping[str, Array]) -> list[Array]:
        return [np.array([str(MAX_MODEL_BYTES)], object)]  # a new object each time

    context = FakeOpening(FakeSession(answer))
    assert decide(context, shared=FakeSession(answer))[0] is context.latency_session


@pytest.mark.parametrize(
    ("verdict", "model_bytes", "cores"),
    [
        (Verdict(batchable=False, reason="it could not be run"), 1000, 2),
        (Verdict(batchable=True, reason="short", curve=(CurvePoint(rows=1, seconds=MIN_RUN_S * 0.9),)), 1000, 2),
        (_VERDICT, MAX_MODEL_BYTES + 1, 2),
        (_VERDICT, 1000, 1),
    ],
)
def test_none_is_tried_of_models_that_are_unknown_short_or_large_or_on_one_core(
    verdict: Verdict, model_bytes: int, cores: int
) -> None:
    """No session is opened for them."""
    context = FakeOpening(doubling(), model_bytes=model_bytes)
    assert decide(context, verdict=verdict, cores=cores) == (None, "")
    assert context.opened == []


@pytest.mark.parametrize("known", [True, False])
def test_what_was_found_before_is_not_measured_again(*, known: bool) -> None:
    """Of the same content."""
    context = FakeOpening(doubling())
    session, told = decide(context, known=known, wide_ms=1000.0)
    assert (session is context.latency_session, context.latency_session.runs) == (known, [])
    assert told == ("; sequential requests run on 2 threads" if known else "")


def test_a_run_that_fails_leaves_none_open() -> None:
    """The shared session serves, as it did when it was measured."""

    def fail(_feeds: Mapping[str, Array]) -> list[Array]:
        raise ExecutionFailed("no memory")

    context = FakeOpening(FakeSession(fail))
    assert decide(context) == (None, "")
    assert context.latency_session.closed == 1
