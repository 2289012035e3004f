"""Triton's flags that are not ours: each gets advice, and the advice names only what there is."""

from __future__ import annotations

import re

import pytest
import typer

from sardonyx_server.cli.commands import app
from sardonyx_server.cli.triton_flags import advice

OURS = {
    option
    for parameter in typer.main.get_command(app).commands["serve"].params  # type: ignore[attr-defined]  # a group
    for option in parameter.opts
}
THEIRS = (
    "--allow-cpu-metrics",
    "--allow-grpc",
    "--allow-http",
    "--allow-metrics",
    "--backend-config",
    "--cache-config",
    "--cuda-memory-pool-byte-size",
    "--disable-auto-complete-config",
    "--grpc-infer-allocation-pool-size",
    "--grpc-keepalive-time",
    "--log-verbose",
    "--model-load-retry-count",
    "--model-store",
    "--pinned-memory-pool-byte-size",
    "--rate-limit-resource",
    "--reuse-grpc-port",
    "--strict-model-config",
    "--trace-config",
)


@pytest.mark.parametrize("flag", THEIRS)
def test_a_flag_of_tritons_has_advice(flag: str) -> None:
    """What to write instead, in flags that this server has."""
    assert flag not in OURS
    text = advice(flag)
    assert text.startswith(("use --", "leave it out: "))
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= OURS


@pytest.mark.parametrize("flag", ["--grpc-prot", "--bogus", "--model", ""])
def test_any_other_flag_has_none(flag: str) -> None:
    """A typing error is not Triton's."""
    assert not advice(flag)
