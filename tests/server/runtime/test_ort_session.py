"""Runs on the real onnxruntime: strings, failures, ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from sardonyx_server.errors import ExecutionFailed, LoadFailed
from tests.server.runtime import models
from tests.server.runtime.sessions import opened, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class TestStrings:
    """Text in and out."""

    def test_text_passes_with_nul_and_any_character(self) -> None:
        """Object arrays of str, in and out."""
        texts = np.array([["a", "\0b"], ["é", "𝄞"]], object)
        answer = run(opened(models.identity(models.STRING, ["n", 2])), x=texts)
        assert answer.dtype == object
        assert answer.tolist() == texts.tolist()

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.array([b"AAAA", b"BBBB"]), "bug: BYTES input 'x' must be an object array of str, got an array of |S4"),
            (np.array(["AAAA"]), "bug: BYTES input 'x' must be an object array of str, got an array of <U4"),
            (np.array([1.0]), "bug: BYTES input 'x' must be an object array of str, got an array of float64"),
            (np.array([b"ab"], object), "bug: BYTES input 'x' must hold str alone, found bytes"),
            (np.array(["a", None, 1], object), "bug: BYTES input 'x' must hold str alone, found NoneType, int"),
        ],
    )
    def test_anything_but_str_is_refused_as_a_bug(self, array: NDArray[Any], message: str) -> None:
        """Before onnxruntime sees it; see the traps below."""
        with pytest.raises(TypeError) as caught:
            run(opened(models.identity(models.STRING)), x=array)
        assert str(caught.value) == message

    def test_trap_onnxruntime_reads_fixed_width_bytes_out_of_bounds(self) -> None:
        """Elements run into those behind them: in a batch, a leak between callers. Good news if it fails."""
        call: Callable[..., Any] = opened(models.identity(models.STRING))._call
        # A fourth, empty element is there to stop it, inside memory of the test's own.
        array = np.frombuffer(b"AAAABBBBCCCC\0\0\0\0", "S4", count=3)
        answer = call(["y"], {"x": array}, None)
        assert answer[0].tolist() == ["AAAABBBBCCCC", "BBBBCCCC", "CCCC"]

    def test_trap_onnxruntime_takes_bytes_for_their_repr(self) -> None:
        """Two bytes become the five characters b'ab'. Good news if it fails."""
        call: Callable[..., Any] = opened(models.identity(models.STRING))._call
        answer = call(["y"], {"x": np.array([b"ab"], object)}, None)
        assert answer[0].tolist() == ["b'ab'"]


class TestRunErrors:
    """What a failed run says."""

    def test_the_text_names_the_model_and_the_operator_and_no_more(self) -> None:
        """The runtime's own error stays attached for the log."""
        with pytest.raises(ExecutionFailed) as caught:
            run(opened(models.matmul()), x=np.zeros((2, 5), np.float32))
        assert caught.value.message == "model 'm' failed while it ran: operator MatMul: MatMul dimension mismatch"
        assert caught.value.__cause__ is not None

    def test_an_input_onnxruntime_refuses_is_an_execution_failure(self) -> None:
        """It checks rank and datatype itself; callers are checked long before."""
        with pytest.raises(ExecutionFailed) as caught:
            run(opened(models.identity()), x=np.zeros((2, 2), np.float32))
        assert caught.value.message == (
            "model 'm' failed while it ran: Invalid rank for input: x Got: 2 Expected: 1 "
            "Please fix either the inputs/outputs or the model"
        )

    def test_a_tensor_that_memory_cannot_hold_fails_that_run_alone(self) -> None:
        """2**40 floats; the next run works."""
        node = helper.make_node("ConstantOfShape", ["x"], ["y"])
        session = opened(
            models.model([node], [models.tensor("x", models.INT64)], [models.tensor("y", models.FLOAT, None)])
        )
        with pytest.raises(ExecutionFailed) as caught:
            run(session, x=np.array([2**40]))
        assert caught.value.message == (
            "model 'm' failed while it ran: operator ConstantOfShape: "
            "Failed to allocate memory for requested buffer of size 4398046511104"
        )
        assert run(session, x=np.array([2])).tolist() == [0, 0]

    def test_a_missing_input_is_a_bug(self) -> None:
        """It would run kernels on a null pointer."""
        with pytest.raises(TypeError, match="bug: run of model 'm' without input x"):
            opened(models.identity()).run(["y"], {})

    def test_nothing_reaches_the_terminal(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Failed runs and loads go there in colour, unless onnxruntime is told otherwise."""
        with pytest.raises(ExecutionFailed):
            run(opened(models.matmul()), x=np.zeros((2, 5), np.float32))
        with pytest.raises(LoadFailed):
            opened(b"no model")
        assert capfd.readouterr() == ("", "")

    def test_a_run_after_close_is_a_bug(self) -> None:
        """And the native session is gone."""
        session = opened(models.identity())
        session.close()
        with pytest.raises(RuntimeError, match="bug: a session was run after it was closed"):
            run(session, x=np.zeros(1, np.float32))


class TestTermination:
    """Ending a run that does not end."""

    def test_what_is_ended_for_good_runs_no_more(self) -> None:
        """Members of a batch that is ended run singly: one of a model without end held a core for ever."""
        session = opened(models.endless_loop())
        session.terminate(for_good=True)
        for _ in range(2):
            with pytest.raises(ExecutionFailed, match="the run was ended by the server"):
                run(session, x=np.array(0, np.float32))

    def test_terminate_ends_every_run_in_progress_and_no_later_one(self) -> None:
        """An endless Loop runs on two threads, and both hear why they have no answer."""
        endless = opened(models.endless_loop())
        started = threading.Barrier(3)
        failures: list[ExecutionFailed] = []

        def work() -> None:
            started.wait(60)
            try:
                run(endless, x=np.array(0, np.float32))
            except ExecutionFailed as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait(60)
        while any(thread.is_alive() for thread in threads):
            # Until both have begun: a run that begins after terminate() is a later run.
            endless.terminate()
            threads[0].join(0.05)
            threads[1].join(0.05)
        ended = "model 'm': the run was ended by the server because it took too long"
        assert [failure.message for failure in failures] == [ended] * 2
        session = opened(models.identity())
        session.terminate()
        assert run(session, x=np.ones(1, np.float32)).tolist() == [1.0]
