"""Hand-made values for the tests of the command line."""

from __future__ import annotations

import threading

from sardonyx_server.cli.views import CostPoint, ModelView
from sardonyx_wire.tensors import TensorSpec

__all__ = ["BROKEN", "IRIS", "MAGIKA", "FakeApp"]

IRIS = ModelView(
    name="iris",
    version=1,
    state="READY",
    inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 4)),),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),
    ),
    provider="CPUExecutionProvider",
    provider_reason="auto: the only one installed",
    provider_nodes={"CPUExecutionProvider": 5},
    inline=True,
    runners_reason="a batch takes less than a hand-over",
    max_batch_size=64,
    batchable=True,
    batching_reason="pays to 64 rows: 6 us alone, 0.1 us a row",
    best_rows=64,
    curve=(CostPoint(rows=1, ms=0.006), CostPoint(rows=8, ms=0.0064), CostPoint(rows=64, ms=0.0072)),
    load_s=0.03,
    config_text='name: "iris"\nmax_batch_size: 64\n',
    warnings=("rate_limiter has no effect here",),
)

MAGIKA = ModelView(
    name="magika",
    version=2,
    state="READY",
    inputs=(TensorSpec(name="bytes", datatype="INT32", shape=(-1, 2048)),),
    outputs=(TensorSpec(name="target_label", datatype="FP32", shape=(-1, 214)),),
    provider="CPUExecutionProvider",
    provider_reason="auto: the only one installed",
    runners=2,
    threads=1,
    max_batch_size=1,
    batchable=True,
    batching_reason="does not pay: 5.3 ms a row alone, 6.7 ms in 16",
    best_rows=1,
    curve=(CostPoint(rows=1, ms=5.3), CostPoint(rows=16, ms=107.0)),
    load_s=0.3,
    notes=("output 'y' is served as a tensor",),
)

BROKEN = ModelView(name="bad", version=1, state="FAILED", reason="model.onnx is no ONNX file [bold]")


class FakeApp:
    """A server whose start and drain last until the test lets them go on."""

    def __init__(self, *, drains: bool = True, start_error: Exception | None = None) -> None:
        self.let_start = threading.Event()
        self.let_drain = threading.Event()
        self.calls: list[str] = []
        self._drains = drains
        self._start_error = start_error

    def start(self) -> None:
        """Waits for ``let_start``."""
        self.let_start.wait(60)
        self.calls.append("start")
        if self._start_error is not None:
            raise self._start_error

    def drain_and_stop(self, timeout_s: float) -> bool:
        """Waits for ``let_drain``."""
        self.calls.append(f"drain {timeout_s:g}")
        self.let_drain.wait(60)
        return self._drains

    def kill(self) -> None:
        """Ends a drain."""
        self.calls.append("kill")
        self._drains = False
        self.let_drain.set()
