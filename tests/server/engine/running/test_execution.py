"""Gather, run, scatter; and who is told what when a run fails."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.job import Job, split
from sardonyx_server.engine.requests.plan import Feed, Tensor
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.running.execution import ReplyHandoff, gather, run_batch
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_server.errors import ExecutionFailed
from sardonyx_wire.datatypes import DATATYPES
from tests.server.engine.doubles import (
    Array,
    BrokenCall,
    FakeSession,
    call_of,
    doubling,
    job,
    message,
    new_counters,
    rows_of,
    signature,
    spec,
)


def batch(*jobs: Job) -> Batch:
    """These jobs together."""
    return Batch(list(jobs), sum(one.rows for one in jobs), "drained")


def numbers(start: int, rows: int, of: Signature | None = None) -> Job:
    """A request with rows that tell whose they are."""
    return job(of or signature(), message({"x": rows_of(start, rows)}))


def feed(name: str, datatype: str, row_shape: tuple[int, ...]) -> Feed:
    """One input."""
    return Feed(name=name, dtype=DATATYPES[datatype].dtype, row_shape=row_shape, is_bytes=datatype == "BYTES")


def raising_at(bad: float, error: Exception) -> FakeSession:
    """Doubles, and raises where a row begins with ``bad``."""

    def answer(feeds: Mapping[str, Array]) -> list[Array]:
        if bad in feeds["x"][:, 0]:
            raise error
        return [feeds["x"] * 2]

    return FakeSession(answer)


class TestGather:
    """Bytes of requests -> one array."""

    def test_one_request_is_a_view_of_its_message(self) -> None:
        """No copy, and nobody can write to it."""
        data = rows_of(0, 8192).tobytes()
        array = gather(feed("x", "FP32", (2,)), (memoryview(data),), 8192, has_batch_axis=True)
        assert array.tolist() == rows_of(0, 8192).tolist()
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert not array.flags.writeable

    @pytest.mark.parametrize("rows", [3, 8192])
    def test_where_the_bytes_lie_in_the_message_is_nothing_to_the_model(self, rows: int) -> None:
        """Its kernels sum in another order at another address, so it always gets one as numpy's arrays have."""
        data = rows_of(0, rows).tobytes()
        for offset in range(16):
            view = memoryview(bytes(offset) + data)[offset:]
            array = gather(feed("x", "FP32", (2,)), (view,), rows, has_batch_axis=True)
            assert array.ctypes.data % 16 == 0
            assert array.tobytes() == data
            assert not array.flags.writeable

    def test_several_requests_are_one_join(self) -> None:
        """In their order."""
        views: list[Tensor] = [
            memoryview(rows_of(0, 2).tobytes()),
            memoryview(rows_of(2, 1).tobytes()),
            rows_of(3, 3).tobytes(),
        ]
        array = gather(feed("x", "FP32", (2,)), views, 6, has_batch_axis=True)
        assert array.tolist() == rows_of(0, 6).tolist()

    def test_strings_of_several_requests(self) -> None:
        """`str` objects, for onnxruntime reads anything else out of bounds."""
        array = gather(feed("t", "BYTES", (2,)), (["a", "b"], ["é", "x\0y", "", "z"]), 3, has_batch_axis=True)
        assert array.tolist() == [["a", "b"], ["é", "x\0y"], ["", "z"]]
        assert array.dtype == object
        assert {type(each) for each in array.ravel().tolist()} == {str}

    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
    def test_rows_without_elements(self, datatype: str, count: int) -> None:
        """They are rows all the same."""
        empty: Tensor = [] if datatype == "BYTES" else b""
        array = gather(feed("x", datatype, (0, 2)), (empty,) * count, 2 * count, has_batch_axis=True)
        assert array.shape == (2 * count, 0, 2)
        assert array.dtype == DATATYPES[datatype].dtype

    def test_without_a_batch_axis_the_shape_is_the_callers(self) -> None:
        """A scalar stays one."""
        array = gather(feed("x", "INT64", ()), (np.int64(7).tobytes(),), 1, has_batch_axis=False)
        assert array.shape == ()
        assert array == 7


class TestScatter:
    """Each caller gets its rows and no others."""

    def test_everyone_gets_exactly_its_rows(self) -> None:
        """From one run."""
        session, jobs = doubling(), [numbers(0, 3), numbers(100, 1), numbers(200, 4)]
        run_batch(session, batch(*jobs), new_counters())
        assert [feeds["x"].shape for feeds in session.runs] == [(8, 2)]
        for one, start in zip(jobs, (0, 100, 200), strict=True):
            assert call_of(one).arrays[0].tolist() == (rows_of(start, one.rows) * 2).tolist()

    def test_only_the_outputs_asked_for_are_run(self) -> None:
        """In the order asked for."""
        session = FakeSession(lambda feeds: [feeds["x"] + 1, feeds["x"]])
        of = signature(outputs=(spec("y"), spec("z")))
        one = job(of, message({"x": rows_of(0, 1)}, outputs=["z", "y"]))
        run_batch(session, batch(one), new_counters())
        assert session.names == [("z", "y")]
        assert [output.name for output in call_of(one).response.outputs] == ["z", "y"]

    def test_without_a_batch_axis_the_request_gets_all(self) -> None:
        """Its outputs may have any shape."""
        of = signature(spec("x", shape=(2,)), outputs=(spec("y", shape=()),), has_batch_axis=False)
        one = job(of, message({"x": np.array([3, 4], np.float32)}))
        run_batch(FakeSession(lambda feeds: [feeds["x"].sum().reshape(())]), batch(one), new_counters())
        assert call_of(one).arrays[0].shape == ()
        assert call_of(one).arrays[0] == 7

    def test_nan_and_infinity_pass_and_do_not_touch_neighbours(self) -> None:
        """Bit for bit."""
        odd = np.array([[np.nan, np.inf]], np.float32)
        jobs = [numbers(1, 1), job(signature(), message({"x": odd})), numbers(2, 1)]
        run_batch(FakeSession(lambda feeds: [feeds["x"]]), batch(*jobs), new_counters())
        assert [call_of(one).arrays[0].tobytes() for one in jobs] == [
            rows_of(1, 1).tobytes(),
            odd.tobytes(),
            rows_of(2, 1).tobytes(),
        ]


class TestFailures:
    """Only the guilty one fails."""

    def test_members_of_a_batch_that_raised_run_singly(self) -> None:
        """The guilty one gets the model's error, the others their answers."""
        error = ExecutionFailed("row 7 is bad")
        session, jobs = raising_at(7, error), [numbers(0, 2), numbers(7, 1), numbers(20, 3)]
        run_batch(session, batch(*jobs), new_counters())
        assert [len(feeds["x"]) for feeds in session.runs] == [6, 2, 1, 3]
        assert call_of(jobs[1]).error is error
        assert call_of(jobs[0]).arrays[0].tolist() == (rows_of(0, 2) * 2).tolist()
        assert call_of(jobs[2]).arrays[0].tolist() == (rows_of(20, 3) * 2).tolist()

    def test_a_request_that_was_alone_is_not_run_again(self) -> None:
        """It would fail again, at the same price."""
        session, one = raising_at(7, ExecutionFailed("bad")), numbers(7, 1)
        run_batch(session, batch(one), new_counters())
        assert len(session.runs) == 1
        assert isinstance(call_of(one).error, ExecutionFailed)

    def test_an_unforeseen_error_is_passed_on_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """The transport hides it from the caller; the log has it whole."""
        error = ZeroDivisionError("secret")
        one = numbers(7, 1)
        run_batch(raising_at(7, error), batch(one), new_counters())
        assert call_of(one).error is error
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

    def test_an_error_of_the_model_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Bad input is no news for the operator."""
        run_batch(raising_at(7, ExecutionFailed("bad")), batch(numbers(7, 1)), new_counters())
        assert not caplog.records

    @pytest.mark.parametrize("shape", [(3, 2), (1, 2), (2,), ()])
    def test_an_output_that_does_not_have_the_rows_is_an_error(self, shape: tuple[int, ...]) -> None:
        """Batcher it would give callers the rows of others."""
        one = numbers(0, 4)
        run_batch(FakeSession(lambda _feeds: [np.zeros(shape, np.float32)]), batch(one), new_counters())
        assert isinstance(call_of(one).error, ExecutionFailed)
        assert call_of(one).error.message == (
            f"model 'm' gave output 'y' of shape {list(shape)} for a batch of 4 rows; its first axis is no batch axis: "
            "set max_batch_size: 0 in its config.pbtxt"
        )

    def test_a_batch_whose_output_lacks_rows_is_run_singly(self) -> None:
        """A model that gives one row for any batch is right for single rows."""
        jobs = [numbers(3, 1), numbers(4, 1)]
        run_batch(FakeSession(lambda feeds: [feeds["x"][:1]]), batch(*jobs), new_counters())
        assert [call_of(one).arrays[0].tolist() for one in jobs] == [rows_of(3, 1).tolist(), rows_of(4, 1).tolist()]

    def test_an_answer_that_cannot_be_encoded_costs_the_others_nothing(self) -> None:
        """Half a surrogate pair is no UTF-8."""
        of = signature(outputs=(spec("t", "BYTES", (-1,)),))
        jobs = [numbers(0, 1, of), numbers(1, 1, of), numbers(2, 1, of)]
        counters = new_counters()
        session = FakeSession(lambda feeds: [np.array(["a", "\ud800", "c"], object)[: len(feeds["x"])]])
        run_batch(session, batch(*jobs), counters)
        assert len(session.runs) == 1
        assert [call_of(one).answers for one in jobs] == [1, 1, 1]
        assert call_of(jobs[1]).errors
        assert [call_of(jobs[index]).arrays[0].tolist() for index in (0, 2)] == [[b"a"], [b"c"]]
        assert (counters.requests, counters.failures.counts().count) == (2, 1)

    def test_a_call_whose_transport_raises_costs_the_others_nothing(self) -> None:
        """Not even when it raises at the error that tells it so."""
        gone, fine = numbers(0, 1), numbers(1, 1)
        gone.call = BrokenCall()
        run_batch(doubling(), batch(gone, fine), new_counters())
        assert call_of(fine).arrays[0].tolist() == (rows_of(1, 1) * 2).tolist()


class TestCounters:
    """What a scrape reads."""

    def test_one_batch(self) -> None:
        """Requests, rows and time; why it was closed."""
        counters, jobs = new_counters(), [numbers(0, 3), numbers(5, 1)]
        run_batch(doubling(), batch(*jobs), counters)
        run_batch(doubling(), Batch([numbers(0, 2)], 2, "full"), counters)
        assert (counters.requests, counters.rows, counters.batches, counters.failures.counts().count) == (3, 6, 2, 0)
        assert counters.closed_by == {"drained": 1, "full": 1}
        assert sorted(counters.sizes) == [2, 4]
        assert all(min(size.input_s, size.infer_s, size.output_s) > 0 for size in counters.sizes.values())
        assert min(counters.queue_s, counters.input_s, counters.infer_s, counters.output_s) > 0

    def test_one_batch_that_raised(self) -> None:
        """One failure; the runs that answered count, and the batch was closed once."""
        counters = new_counters()
        jobs = [numbers(0, 2), numbers(7, 1), numbers(20, 3)]
        run_batch(raising_at(7, ExecutionFailed("bad")), batch(*jobs), counters)
        assert (counters.requests, counters.rows, counters.batches, counters.failures.counts().count) == (2, 5, 2, 1)
        assert counters.closed_by == {"drained": 1}


class TestHandBack:
    """Answers that the lane's thread sends."""

    def test_the_lane_sends_all_answers(self) -> None:
        """Of one as of many: the runner goes on with its next batch."""
        for jobs in ([numbers(0, 2), numbers(10, 1)], [numbers(0, 3)]):
            tasks: deque[Callable[[], None]] = deque()
            handoff, counters = ReplyHandoff(tasks.append, Failures()), new_counters()
            run_batch(doubling(), batch(*jobs), counters, handoff)
            assert [call_of(one).answers for one in jobs] == [0] * len(jobs)
            tasks.popleft()()
            assert not tasks
            for one, start in zip(jobs, (0, 10), strict=False):
                assert call_of(one).arrays[0].tolist() == (rows_of(start, one.rows) * 2).tolist()
            assert (counters.requests, counters.batches) == (0, 1)
            assert (handoff.counters.requests, handoff.counters.rows, handoff.counters.batches) == (
                len(jobs),
                3,
                0,
            )

    def test_where_the_first_is_a_part_all_are_answered_at_once(self) -> None:
        """Its answer is put together from several runs, on whichever thread has the last of them."""
        tasks: deque[Callable[[], None]] = deque()
        first, last = split(numbers(0, 3), 2)
        other = numbers(10, 1)
        run_batch(doubling(), batch(last, other), new_counters(), ReplyHandoff(tasks.append, Failures()))
        assert not tasks
        assert call_of(other).answers == 1
        run_batch(doubling(), batch(first), new_counters(), ReplyHandoff(tasks.append, Failures()))

    def test_members_of_a_batch_that_raised_are_answered_where_they_ran(self) -> None:
        """One by one."""
        tasks: deque[Callable[[], None]] = deque()
        jobs = [numbers(0, 1), numbers(7, 1)]
        session = raising_at(7, ExecutionFailed("bad"))
        run_batch(session, batch(*jobs), new_counters(), ReplyHandoff(tasks.append, Failures()))
        assert not tasks
        assert [call_of(one).answers for one in jobs] == [1, 1]
