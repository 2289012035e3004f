"""The bar of observability overhead: how much throughput metrics and traces cost."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.arms import Arm, Measurable, Sample, measure_in_turns
from bench.bars import Bar, Outcome
from bench.cases import make
from bench.environment import checkout_of
from bench.load.result import Streams
from bench.testbed import Plan, Testbed, outcome, ratios
from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["OBSERVED", "overhead"]

OBSERVED: Final = Bar(name="iris 8x8, observed, of its rate with metrics and traces off", target=0.95)
OBSERVED_OF_BEFORE: Final = Bar(name="iris 8x8, observed, of the rate of an earlier commit", target=0.95)

_TRACE_RATE: Final = 1000
_SCRAPE_INTERVAL_S: Final = 1.0
_SCRAPE_TIMEOUT_S: Final = 10.0


class _Scraped:
    """An arm whose metrics are scraped during the load, as Prometheus does.

    Args:
        arm: Its server has a ``metrics_url``.
    """

    def __init__(self, arm: Arm) -> None:
        self.name = arm.name
        self.scrapes = 0
        self._arm = arm
        self._url = arm.server.metrics_url
        self._problem = ""

    def calibrate(self, seconds: float) -> None:
        """See :class:`~bench.arms.Measurable`."""
        self._arm.calibrate(seconds)

    def measure(self, *, record_each: bool) -> Sample:
        """See :class:`~bench.arms.Measurable`."""
        with self._scraping():
            sample = self._arm.measure(record_each=record_each)
        if self._problem:
            raise LoadGeneratorError(f"a scrape of {self._url} failed: {self._problem}")
        return sample

    @contextmanager
    def _scraping(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._scrape_until, args=(ended,), name="scrape")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _scrape_until(self, ended: threading.Event) -> None:
        try:
            while not ended.is_set():
                with urllib.request.urlopen(self._url, timeout=_SCRAPE_TIMEOUT_S) as answer:  # noqa: S310  # our own server
                    answer.read()
                self.scrapes += 1
                ended.wait(_SCRAPE_INTERVAL_S)
        except OSError as error:
            self._problem = str(error)


def overhead(plan: Plan) -> list[Outcome]:
    """Metrics scraped once a second and one request in a thousand traced to a file, against neither.

    Statistics are always counted: what they cost shows against a commit from before them (``--before``).
    """
    traces = plan.folder / "traces"
    traces.mkdir()
    with ExitStack() as stack:
        testbed = Testbed(plan, make("iris", plan.folder), Streams(connections=8, streams=8), stack)
        server = testbed.server("server", metrics_port=0, trace_rate=_TRACE_RATE, trace_dir=str(traces))
        observed = _Scraped(server)
        arms: list[Measurable] = [observed, testbed.server("off")]
        if plan.before:
            arms.append(
                testbed.server("before", root=stack.enter_context(checkout_of(plan.before, plan.folder / "before")))
            )
        turns = list(measure_in_turns(arms, turns=plan.turns, seconds=plan.seconds))
    written = sum(len(file.read_bytes().splitlines()) for file in traces.iterdir())
    sent = sum(turn["server"].load.requests for turn in turns)
    if written < sent // _TRACE_RATE // 2:
        raise LoadGeneratorError(f"{sent} requests were sent and {written} traces written: tracing was not on")
    remark = f"{observed.scrapes} scrapes, {written} lines of traces"
    outcomes = [outcome(OBSERVED, ratios(turns, "off"), turns, server, remark)]
    if plan.before:
        details = {"commit": plan.before}
        outcomes.append(outcome(OBSERVED_OF_BEFORE, ratios(turns, "before"), turns, server, plan.before, details))
    return outcomes
