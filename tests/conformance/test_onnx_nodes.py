"""ONNX's own node tests through the server: the same bits as onnxruntime gives by itself, on both transports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from sardonyx_wire.messages import ModelInferRequest
from tests.conformance.clients import CLIENTS
from tests.conformance.onnx_cases import RANDOM_CASES, NodeCase, Skipped, Why, node_cases
from tests.conformance.sweep import Expected, expect, served, sweep
from tests.conformance.table import LINE, Line
from tests.e2e.messages import failure_of
from tests.e2e.servers import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

_CLIENT: Final = CLIENTS[0]
# Of onnx 1.23 and onnxruntime 1.32, rounded down: 1,884 cases, of which 1,599 run, the protocol cannot carry 193 and
# onnxruntime does not run 82 (2026-11-24). A sweep that shrinks is no proof.
_LEAST_CASES: Final = 1800
_LEAST_RAN: Final = 1550
_MOST_SKIPPED: Final = {Why.PROTOCOL: 220, Why.ONNXRUNTIME: 120, Why.RANDOM: len(RANDOM_CASES)}


@pytest.fixture(scope="module")
def cases() -> list[NodeCase | Skipped]:
    """All of them."""
    return node_cases()


@pytest.fixture(scope="module")
def expected(cases: list[NodeCase | Skipped]) -> Expected:
    """What onnxruntime says to them."""
    return expect(cases)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_case_gives_the_bits_that_onnxruntime_gives(
    expected: Expected, transport: str, record_property: Callable[[str, object], None]
) -> None:
    """NaN payloads and signed zeros included."""
    result = sweep(expected, transport)
    record_property(
        LINE,
        Line(
            client=_CLIENT.name,
            version=_CLIENT.version,
            what=f"each case bit for bit, {transport}",
            passed=len(result.ran),
            failed=len(result.failures),
            reason="; ".join(result.failures[:3]),
        ),
    )
    assert not result.failures, "\n".join(result.failures)
    assert len(result.ran) >= _LEAST_RAN


def test_the_sweep_does_not_shrink(
    cases: list[NodeCase | Skipped], expected: Expected, record_property: Callable[[str, object], None]
) -> None:
    """What is not sent is counted by its reason."""
    skipped = Counter(case.why for case in expected.skipped)
    for why, count in skipped.items():
        kinds = Counter(case.reason for case in expected.skipped if case.why is why)
        reason = f"{why}: " + ", ".join(f"{kind} ({times})" for kind, times in kinds.most_common())
        record_property(
            LINE, Line(client=_CLIENT.name, version=_CLIENT.version, what="not sent", skipped=count, reason=reason)
        )
    assert len(cases) >= _LEAST_CASES
    assert all(skipped[why] <= most for why, most in _MOST_SKIPPED.items()), skipped
    assert len(expected.answers) + skipped.total() == len(cases)


def test_the_random_cases_are_still_there(cases: list[NodeCase | Skipped]) -> None:
    """A name that ONNX has dropped excuses nothing."""
    assert set(RANDOM_CASES) == {case.name for case in cases if isinstance(case, Skipped) and case.why is Why.RANDOM}


def test_what_the_protocol_cannot_carry_is_refused_at_load(cases: list[NodeCase | Skipped]) -> None:
    """With the tensor and its type in the reason, in place of an answer that means something else."""
    uncarried = [case for case in cases if isinstance(case, Skipped) and case.why is Why.PROTOCOL]
    with served(uncarried, "lane") as server:
        for case in uncarried:
            with pytest.raises(grpc.RpcError) as caught:
                server.infer(ModelInferRequest(model_name=case.name))
            failure = failure_of(caught.value)
            assert failure.code is grpc.StatusCode.UNAVAILABLE, case.name
            kind = case.reason.removeprefix("it has no ")
            assert kind in failure.message or "of element type" in failure.message, (case.name, failure.message)
