"""The same answers on a GPU as on the CPU. Skipped where onnxruntime has no CUDA or the machine no GPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from sardonyx_server.errors import ExecutionFailed
from sardonyx_server.runtime.environment import describe_environment
from sardonyx_server.runtime.ort_session import OrtSession
from sardonyx_server.runtime.placement import InstanceGroup, PlacementRequest
from sardonyx_server.runtime.provider_selection import select_providers
from sardonyx_server.runtime.session import open_session
from tests.server.runtime import models

_HERE = describe_environment()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif("cuda" not in _HERE.usable or not _HERE.gpu_count, reason="no GPU that onnxruntime can use"),
]


def on_gpu(model_bytes: bytes) -> OrtSession:
    """The model on the first GPU."""
    request = PlacementRequest(name="m", groups=(InstanceGroup(kind="gpu", gpus=(0,)),))
    placement = select_providers(["cuda"], _HERE.available, _HERE.gpu_count, request)
    return open_session(name="m", model_bytes=model_bytes, providers=placement.instances[0].providers)


def test_auto_takes_the_gpu() -> None:
    """And says so."""
    placement = select_providers(["auto"], _HERE.available, _HERE.gpu_count, PlacementRequest(name="m"))
    assert placement.instances[0].kind == "gpu"
    assert "cuda" in placement.reason


def test_the_graph_runs_on_the_gpu_and_agrees_with_the_cpu() -> None:
    """TF32 rounds products to 10 bits."""
    session = on_gpu(models.convolution())
    assert session.provider == "CUDAExecutionProvider"
    assert session.threads == 0
    array = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
    want: Any = open_session(name="m", model_bytes=models.convolution()).run(["y"], {"x": array})[0]
    for rows in (5, 1, 3):
        got: Any = session.run(["y"], {"x": array[:rows]})[0]
        np.testing.assert_allclose(got, want[:rows], rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(models.FLOAT, "f4"), (models.FLOAT16, "f2"), (models.INT64, "i8"), (models.BFLOAT16, "u2")]
)
def test_tensors_come_back_bit_for_bit(kind: int, dtype: str) -> None:
    """Scalars, empty tensors, BF16."""
    session = on_gpu(models.identity(kind, shape=None))
    for shape in ((), (0,), (2, 3)):
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        answer = session.run(["y"], {"x": array})[0]
        assert (answer.dtype, answer.shape, answer.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_strings_stay_on_the_cpu() -> None:
    """A model of strings runs in a session on the GPU too."""
    answer = on_gpu(models.identity(models.STRING)).run(["y"], {"x": np.array(["a", "é"], object)})[0]
    assert answer.tolist() == ["a", "é"]


def test_threads_share_one_session() -> None:
    """Each gets its own answer: the bindings are per thread."""
    session = on_gpu(models.identity())
    wrong: list[int] = []

    def work(index: int) -> None:
        array = np.full(1000, index, np.float32)
        wrong.extend(index for _ in range(50) if not np.array_equal(session.run(["y"], {"x": array})[0], array))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_failed_run_is_translated_and_the_next_one_works() -> None:
    """As on the CPU."""
    session = on_gpu(models.matmul())
    with pytest.raises(ExecutionFailed, match="model 'm' failed while it ran: operator MatMul: "):
        session.run(["y"], {"x": np.zeros((2, 5), np.float32)})
    assert session.run(["y"], {"x": np.ones((1, 4), np.float32)})[0].tolist() == [[4, 4, 4]]
