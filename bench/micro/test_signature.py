"""How long the only check of shapes and types takes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.micro.measuring import Measure
from bench.micro.workload import Workload
from sardonyx_server.engine.requests.plan import Plan, Tensor
from sardonyx_wire.request_reader import RequestReader

Checked = tuple[Plan, Sequence[Tensor]]


def test_time_to_check_a_known_header(one: Workload, measured: Measure[Checked]) -> None:
    """How long does the check of a request take whose header has been checked before?"""
    header, _, payloads = RequestReader().decode(one.message)
    one.signature.check(header, payloads)
    plan, tensors = measured(lambda: one.signature.check(header, payloads))
    assert plan is header.plan
    assert list(tensors) == payloads


def test_time_to_check_a_new_header(one: Workload, measured: Measure[Checked]) -> None:
    """How long does the check of a request take whose header has not been checked before?"""
    header, _, payloads = RequestReader().decode(one.message)

    def check() -> Checked:
        header.plan = None
        return one.signature.check(header, payloads)

    plan, tensors = measured(check)
    assert plan.rows == 1
    assert list(tensors) == payloads
