"""Concurrent calls that are joined: fewer requests, and each caller gets what it would have got alone."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_client import AsyncClient, Client, ClientError, Coalesce, DeadlineExceeded, InvalidArgument, Result
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse
from tests.client.servers import TinyServer, echo
from tests.client.waiting import BOUND_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Outcome = Result | ClientError


class Gate:
    """An echo whose first request waits until the test opens it, so that further calls pile up behind."""

    def __init__(self, answer: Callable[[Any, Any], Any] = echo) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.rows: list[int] = []
        self._answer = answer

    def __call__(self, request: ModelInferRequest, context: grpc.ServicerContext) -> Any:
        """Answers ModelInfer."""
        self.rows.append(request.inputs[0].shape[0])
        self.entered.set()
        assert self.opened.wait(BOUND_S)
        return self._answer(request, context)


def by_threads(address: str, gate: Gate, calls: Sequence[dict[str, Any]], options: Coalesce) -> list[Outcome]:
    """All calls at once, each from a thread; the gate opens when the first is in the server and the others wait."""
    with Client(address, coalesce=options, timeout_s=BOUND_S) as client, ThreadPoolExecutor(len(calls)) as threads:

        def ask(call: dict[str, Any]) -> Outcome:
            try:
                return client.infer("m", **call)
            except ClientError as error:
                return error

        first = threads.submit(ask, calls[0])
        assert gate.entered.wait(BOUND_S)
        others = [threads.submit(ask, call) for call in calls[1:]]
        waiting = client._calls._coalescer._groups  # type: ignore[union-attr]  # to know when all wait
        until(lambda: sum(len(group.waiting) for group in waiting.values()) == len(others))
        gate.opened.set()
        return [each.result(BOUND_S) for each in (first, *others)]


def by_tasks(address: str, gate: Gate, calls: Sequence[dict[str, Any]], options: Coalesce) -> list[Outcome]:
    """The same with tasks of one event loop."""

    async def run() -> list[Outcome]:
        async with AsyncClient(address, coalesce=options, timeout_s=BOUND_S) as client:

            async def ask(call: dict[str, Any]) -> Outcome:
                try:
                    return await client.infer("m", **call)
                except ClientError as error:
                    return error

            first = asyncio.create_task(ask(calls[0]))
            assert await asyncio.to_thread(gate.entered.wait, BOUND_S)
            others = [asyncio.create_task(ask(call)) for call in calls[1:]]
            await asyncio.sleep(0)
            gate.opened.set()
            return list(await asyncio.gather(first, *others))

    return asyncio.run(run())


CLIENT_CLASSES = pytest.mark.parametrize("run", [by_threads, by_tasks], ids=["sync", "async"])
Run = "Callable[[str, Gate, Sequence[dict[str, Any]], Coalesce], list[Outcome]]"


@CLIENT_CLASSES
def test_calls_that_wait_together_make_one_request_and_each_gets_its_rows(run: Any) -> None:
    """Whatever number of rows each brings, and text as well as numbers."""
    gate = Gate()
    calls: list[dict[str, Any]] = [
        {"x": np.full((rows, 2), rows, np.float32), "t": np.full((rows,), f"text {rows}"), "request_id": f"r{rows}"}
        for rows in (1, 2, 3, 4)
    ]
    with TinyServer(ModelInfer=gate) as server:
        results = run(server.address, gate, calls, Coalesce(max_rows=64))
    assert gate.rows == [1, 9]
    for call, result in zip(calls, results, strict=True):
        np.testing.assert_array_equal(result["x"], call["x"])
        assert result.text("t").tolist() == call["t"].tolist()
        assert result.request_id == call["request_id"]


def test_a_caller_with_little_time_does_not_lead_those_with_more() -> None:
    """It would be held up until the last of them gives up."""
    entered, opened = threading.Semaphore(0), threading.Event()

    def hold(request: ModelInferRequest, context: grpc.ServicerContext) -> Any:
        entered.release()
        if request.inputs[0].shape[0] > 1:
            assert opened.wait(BOUND_S)
        else:
            until(lambda: sum(len(group.waiting) for group in waiting.values()) == 2)
        return echo(request, context)

    with (
        TinyServer(ModelInfer=hold) as server,
        Client(server.address, coalesce=Coalesce(), timeout_s=BOUND_S) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        waiting = client._calls._coalescer._groups  # type: ignore[union-attr]  # to know when both wait
        first = threads.submit(client.infer, "m", x=[[1]])
        assert entered.acquire(timeout=BOUND_S)
        hasty = threads.submit(client.infer, "m", x=[[2]], timeout_s=2.0)
        until(lambda: sum(len(group.waiting) for group in waiting.values()) == 1)
        patient = threads.submit(client.infer, "m", x=[[3]])
        assert entered.acquire(timeout=BOUND_S)
        with pytest.raises(DeadlineExceeded):
            hasty.result(BOUND_S / 2)
        assert not patient.done()
        opened.set()
        assert [each.result(BOUND_S)["x"].tolist() for each in (first, patient)] == [[[1]], [[3]]]


@CLIENT_CLASSES
def test_text_joins_with_bytes_that_are_no_text(run: Any) -> None:
    """Both are BYTES, and NumPy would take the bytes for ASCII."""
    gate = Gate()
    calls = [{"x": np.array(x)} for x in ([b"a"], ["\u00e9"], [b"\xff"])]
    with TinyServer(ModelInfer=gate) as server:
        results = run(server.address, gate, calls, Coalesce())
    assert gate.rows == [1, 2]
    assert [result["x"].tolist() for result in results] == [[b"a"], ["\u00e9".encode()], [b"\xff"]]


@CLIENT_CLASSES
def test_a_joined_request_has_no_more_rows_than_allowed(run: Any) -> None:
    """Seven of two rows at four a request."""
    gate = Gate()
    with TinyServer(ModelInfer=gate) as server:
        results = run(server.address, gate, [{"x": [[k], [k]]} for k in range(8)], Coalesce(max_rows=4))
    assert gate.rows == [2, 4, 4, 4, 2]
    assert [result["x"].ravel().tolist() for result in results] == [[k, k] for k in range(8)]


@CLIENT_CLASSES
def test_calls_that_differ_do_not_join(run: Any) -> None:
    """In datatype, in the dimensions behind the first, in outputs or parameters; scalars and large calls go alone."""
    gate = Gate()
    calls: list[dict[str, Any]] = [
        {"x": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float32), "parameters": {"priority": 1}},
        {"x": np.zeros((1, 2), np.float32), "parameters": {"priority": True}},
    ]
    gate.opened.set()
    with TinyServer(ModelInfer=gate) as server:
        results = [run(server.address, gate, [call], Coalesce(max_rows=4))[0] for call in calls]
        alone = run(server.address, gate, [{"x": np.zeros((4, 2), np.float32)}], Coalesce(max_rows=4))
    assert all(isinstance(result, Result) for result in (*results, *alone))


@CLIENT_CLASSES
def test_a_failure_belongs_to_the_call_that_caused_it(run: Any) -> None:
    """The others get their answers, since all are sent singly then."""

    def picky(request: ModelInferRequest, context: grpc.ServicerContext) -> Any:
        if np.isnan(np.frombuffer(request.raw_input_contents[0], np.float32)).any():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a number")
        return echo(request, context)

    gate = Gate(picky)
    values = [0.0, 1.0, float("nan"), 3.0]
    with TinyServer(ModelInfer=gate) as server:
        results = run(server.address, gate, [{"x": [[v]], "request_id": f"{v}"} for v in values], Coalesce())
    assert gate.rows == [1, 3, 1, 1, 1]
    assert [float(r["x"][0, 0]) for r in results if isinstance(r, Result)] == [0.0, 1.0, 3.0]
    (failed,) = (r for r in results if isinstance(r, ClientError))
    assert isinstance(failed, InvalidArgument)
    assert failed.request_id == "nan"


@CLIENT_CLASSES
def test_a_model_whose_answers_cannot_be_cut_is_asked_singly_from_then_on(run: Any) -> None:
    """Such as one that gives one number for the whole request."""

    def total(request: ModelInferRequest, _context: object) -> ModelInferResponse:
        numbers = np.frombuffer(request.raw_input_contents[0], np.int64)
        response = ModelInferResponse(model_name="m", raw_output_contents=[np.int64(numbers.sum()).tobytes()])
        response.outputs.add(name="sum", datatype="INT64", shape=[])
        return response

    gate = Gate(total)
    with TinyServer(ModelInfer=gate) as server:
        results = run(server.address, gate, [{"x": [k]} for k in range(4)], Coalesce())
    assert [int(result["sum"]) for result in results] == [0, 1, 2, 3]
    assert gate.rows == [1, 3, 1, 1, 1]


@CLIENT_CLASSES
def test_a_caller_whose_time_is_over_leaves_and_the_others_stay(run: Any) -> None:
    """Also while its rows are under way."""
    gate = Gate()
    calls: list[dict[str, Any]] = [{"x": [[0]]}, {"x": [[1]]}]
    with TinyServer(ModelInfer=gate) as server:
        late = Client(server.address, coalesce=Coalesce())
        with late:
            thread = ThreadPoolExecutor(1)
            first = thread.submit(late.infer, "m", x=[[0]])
            assert gate.entered.wait(BOUND_S)
            with pytest.raises(DeadlineExceeded, match=r"ModelInfer of model 'm' gave no answer within 0\.05 s"):
                late.infer("m", x=[[1]], timeout_s=0.05)
            gate.opened.set()
            assert first.result(BOUND_S)["x"].tolist() == [[0]]
            thread.shutdown()
    closed = Gate()
    with TinyServer(ModelInfer=closed) as server:
        results = run(server.address, closed, calls, Coalesce())
    assert [result["x"].tolist() for result in results] == [[[0]], [[1]]]


class Ahead(asyncio.SelectorEventLoop):
    """An event loop whose clock a test can put forward."""

    ahead_s = 0.0

    def time(self) -> float:
        """Of the loop's own clock."""
        return super().time() + self.ahead_s


def test_tasks_that_wait_for_one_request_have_deadlines_of_their_own() -> None:
    """Each is told its own limit; who has more time gets the answer that they all waited for."""
    gate, loop = Gate(), Ahead()

    async def run(address: str) -> None:
        async with AsyncClient(address, coalesce=Coalesce()) as client:
            calls = [
                asyncio.create_task(client.infer("m", x=[[number]], timeout_s=timeout_s, request_id=f"r{number}"))
                for number, timeout_s in enumerate((2 * BOUND_S, 4 * BOUND_S, BOUND_S, None))
            ]
            assert await asyncio.to_thread(gate.entered.wait, BOUND_S)
            for number, limit_s in ((2, BOUND_S), (0, 2 * BOUND_S)):
                loop.ahead_s = limit_s
                with pytest.raises(
                    DeadlineExceeded, match=f"ModelInfer of model 'm' gave no answer within {limit_s:g} s"
                ):
                    await calls[number]
            gate.opened.set()
            for number in (1, 3):
                result = await calls[number]
                assert result["x"].tolist() == [[number]]
                assert result.request_id == f"r{number}"

    with TinyServer(ModelInfer=gate) as server, asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run(server.address))
    assert gate.rows == [4]


def test_a_cancelled_task_leaves_and_the_others_stay() -> None:
    """Its future is done, so its rows are not sent."""
    gate = Gate()

    async def run(address: str) -> None:
        async with AsyncClient(address, coalesce=Coalesce()) as client:
            first = asyncio.create_task(client.infer("m", x=[[0]]))
            assert await asyncio.to_thread(gate.entered.wait, BOUND_S)
            second = asyncio.create_task(client.infer("m", x=[[1]]))
            third = asyncio.create_task(client.infer("m", x=[[2]]))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.sleep(0)
            gate.opened.set()
            assert (await first)["x"].tolist() == [[0]]
            assert (await third)["x"].tolist() == [[2]]
            with pytest.raises(asyncio.CancelledError):
                await second

    with TinyServer(ModelInfer=gate) as server:
        asyncio.run(run(server.address))
    assert gate.rows == [1, 1]


def test_many_threads_get_their_own_rows() -> None:
    """Without any order between them, several requests under way."""
    with TinyServer(ModelInfer=echo) as server, Client(server.address, coalesce=Coalesce(in_flight=3)) as client:

        def ask(number: int) -> bool:
            return bool(client.infer("m", x=[[number]])["x"][0, 0] == number)

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(ask, range(400)))
        assert not client._calls._coalescer._groups  # type: ignore[union-attr]  # nothing is left behind
    assert len(server.calls) < 400
