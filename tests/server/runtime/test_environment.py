"""What the machine offers."""

from __future__ import annotations

import pytest

from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.environment import count_gpus, describe_environment


def test_this_machine_is_described() -> None:
    """Versions, providers, cores."""
    environment = describe_environment()
    assert environment.onnxruntime_version == ort_import.import_onnxruntime().__version__
    assert "CPUExecutionProvider" in environment.available
    assert environment.usable[-1] == "cpu"
    assert environment.cores >= 1
    assert environment.gpu_count >= 0


@pytest.mark.parametrize(
    ("available", "driver", "listed", "count"),
    [
        (("CUDAExecutionProvider",), 1, ("a", "b"), 1),
        (("CUDAExecutionProvider",), 0, ("a",), 0),
        (("TensorrtExecutionProvider",), None, ("a",), 1),
        (("CPUExecutionProvider",), 5, ("a", "b"), 2),
        (("CPUExecutionProvider",), 5, (), 0),
    ],
)
def test_gpus_are_counted_by_the_driver_where_cuda_can_be_used(
    available: tuple[str, ...], driver: int | None, listed: tuple[str, ...], count: int
) -> None:
    """It honours CUDA_VISIBLE_DEVICES; elsewhere the kernel's list says whether one lies idle."""
    assert count_gpus(available, ask_driver=lambda: driver, list_folder=lambda _folder: listed) == count


def test_a_machine_without_a_driver_is_no_error() -> None:
    """As most are."""
    assert count_gpus(("CUDAExecutionProvider",)) >= 0
