"""Sessions on the real onnxruntime, on the CPU: tuning, memory, threads."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import weakref

import numpy as np
import pytest
from onnx import helper, numpy_helper

from sardonyx_server.runtime.tuning import SessionTuning
from tests.server.runtime import models
from tests.server.runtime.sessions import opened, run


class TestOptions:
    """Tuning and memory."""

    def test_every_tuning_opens(self) -> None:
        """All of the options are taken, and the results are the same."""
        tuning = SessionTuning(
            intra_op_threads=2,
            inter_op_threads=2,
            parallel=True,
            mem_arena=False,
            mem_pattern=False,
            graph_level="off",
            entries={"session.disable_prepacking": "1", "session.set_denormal_as_zero": "1"},
        )
        want = run(opened(models.convolution()), x=np.ones((1, 3, 16, 16), np.float32))
        session = opened(models.convolution(), tuning=tuning)
        assert session.threads == 2
        np.testing.assert_allclose(run(session, x=np.ones((1, 3, 16, 16), np.float32)), want, rtol=1e-5)
        shrinking = opened(models.convolution(), tuning=SessionTuning(arena_shrinkage="cpu:0"), threads=2)
        np.testing.assert_allclose(run(shrinking, x=np.ones((1, 3, 16, 16), np.float32)), want, rtol=1e-5)

    @pytest.mark.parametrize("kind", [models.FLOAT, models.BFLOAT16])
    def test_the_model_is_not_kept_as_bytes(self, kind: int) -> None:
        """A second copy of every model's weights otherwise."""
        model_bytes = models.identity(kind)
        before = sys.getrefcount(model_bytes)
        session = opened(model_bytes)
        assert sys.getrefcount(model_bytes) == before
        session.close()

    def test_a_large_model_runs_as_a_small_one_does(self) -> None:
        """Beyond a size it is handed over as a file in memory."""
        weights = numpy_helper.from_array(np.eye(512, dtype=np.float32), "w")
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        large = models.model(
            [node],
            [models.tensor("x", models.FLOAT, ["n", 512])],
            [models.tensor("y", models.FLOAT, ["n", 512])],
            initializers=[weights],
        )
        assert len(large) > 2**20
        rows = np.arange(1024, dtype=np.float32).reshape(2, 512)
        np.testing.assert_array_equal(run(opened(large), x=rows), rows)

    def test_close_frees_the_native_session(self) -> None:
        """Its weights and its arena."""
        session = opened(models.identity(models.BFLOAT16))
        native = weakref.ref(inspect.getclosurevars(session._call).nonlocals["native"])
        assert native() is not None
        session.close()
        gc.collect()
        assert native() is None


def test_threads_share_one_session() -> None:
    """Each gets its own answer."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape: list[str | int] = ["n", 4]
    session = opened(
        models.model(
            [node],
            [models.tensor("x", models.FLOAT, shape)],
            [models.tensor("y", models.FLOAT, shape)],
            initializers=[weights],
        )
    )
    wrong: list[int] = []

    def work(index: int) -> None:
        array = np.full((3, 4), index, np.float32)
        wrong.extend(index for _ in range(50) if not np.array_equal(run(session, x=array), array))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
