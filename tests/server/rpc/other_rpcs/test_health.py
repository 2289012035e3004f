"""grpc.health.v1 over a real socket: Check and Watch, and watchers that would hold others up."""

from __future__ import annotations

import queue
import threading
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from sardonyx_server.errors import InvalidRequest, Overloaded, ShuttingDown
from sardonyx_server.rpc.other_rpcs import health as health_module
from sardonyx_server.rpc.other_rpcs.health import Health
from sardonyx_wire.messages import SERVICE, ServerLiveRequest
from tests.server.rpc.doubles import CALL_TIMEOUT_S, Running, failed, ready, running, some_registry

LIST = "/grpc.health.v1.Health/List"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


def check(server: Running, service: str) -> Any:
    """Status that Check answers."""
    call = server.channel.unary_unary(
        CHECK,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return call(HealthCheckRequest(service=service), timeout=CALL_TIMEOUT_S).status


def watch(server: Running, service: str) -> Any:
    """Updates of a Watch."""
    call = server.channel.unary_stream(
        WATCH,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return call(HealthCheckRequest(service=service), timeout=CALL_TIMEOUT_S)


class FakeContext:
    """What a watch sees of its call."""

    def __init__(self, *, active: bool = True) -> None:
        self.active = active
        self.cancelled = threading.Event()
        self.status: list[object] = []

    def add_callback(self, callback: Any) -> bool:
        """Keep it for the test to call."""
        self.callback = callback
        return self.active

    def set_code(self, code: grpc.StatusCode) -> None:
        """Note it."""
        self.status.append(code)

    def set_details(self, details: str) -> None:
        """Note it."""
        self.status.append(details)

    def cancel(self) -> None:
        """Note it."""
        self.cancelled.set()

    def block(self, _response: object) -> None:
        """A send to a caller that does not read."""
        self.cancelled.wait()


@pytest.mark.parametrize(
    ("service", "expected"),
    [("", SERVING), (SERVICE, SERVING), ("iris", SERVING), ("digits", NOT_SERVING), ("wine", NOT_SERVING)],
)
def test_check_knows_the_server_and_each_model(service: str, expected: int) -> None:
    """A model that loads or has failed is known, but does not serve."""
    with running() as server:
        assert check(server, service) == expected


def test_the_server_serves_when_it_is_ready() -> None:
    """The same rule as ServerReady."""
    with running() as server:
        server.readiness.append(False)
        assert (check(server, ""), check(server, "iris")) == (NOT_SERVING, SERVING)


def test_check_of_an_unknown_service_is_not_found() -> None:
    """As the health protocol asks."""
    with running() as server, pytest.raises(grpc.RpcError) as caught:
        check(server, "nobody")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "unknown service 'nobody': expected the name of a model, or an empty one for the server",
    )


@pytest.mark.skipif(not hasattr(health_pb2, "HealthListRequest"), reason="this grpcio-health-checking has no List")
def test_list_knows_the_server_and_every_model() -> None:
    """Where the installed package has it."""
    with running() as server:
        messages: Any = health_pb2  # the stubs are older than List
        call: grpc.UnaryUnaryMultiCallable[bytes, Any] = server.channel.unary_unary(
            LIST, response_deserializer=messages.HealthListResponse.FromString
        )
        statuses = {name: answer.status for name, answer in call(b"", timeout=CALL_TIMEOUT_S).statuses.items()}
    assert statuses == {"": SERVING, "iris": SERVING, "digits": NOT_SERVING, "wine": NOT_SERVING}


def test_watch_tells_each_change_of_a_model_once() -> None:
    """From unknown over ready and failed to gone."""
    with running() as server:
        updates = watch(server, "new")
        assert next(updates).status == SERVICE_UNKNOWN
        ready(server.registry, "new")
        assert next(updates).status == SERVING
        ready(server.registry, "new", 2)  # still serving: no update
        failed(server.registry, "new", "broken", 2)
        failed(server.registry, "new", "broken", 1)
        assert next(updates).status == NOT_SERVING
        server.registry.drop("new")
        assert next(updates).status == SERVICE_UNKNOWN
        updates.cancel()


def test_watch_tells_changes_of_the_server() -> None:
    """With a model's change, and when it is told to look again."""
    with running() as server:
        updates = watch(server, "")
        assert next(updates).status == SERVING
        server.readiness.append(False)
        failed(server.registry, "iris", "broken")
        assert next(updates).status == NOT_SERVING
        server.readiness.append(True)
        server.registered.health.refresh()
        assert next(updates).status == SERVING
        updates.cancel()


def test_a_draining_server_serves_nothing_and_then_ends_watches() -> None:
    """Watchers hear NOT_SERVING before the end, and nothing takes it back."""
    with running() as server:
        of_server, of_model = watch(server, ""), watch(server, "iris")
        assert (next(of_server).status, next(of_model).status) == (SERVING, SERVING)
        server.registered.health.drain()
        assert (next(of_server).status, next(of_model).status) == (NOT_SERVING, NOT_SERVING)
        ready(server.registry, "iris", 9)
        assert (check(server, ""), check(server, "iris")) == (NOT_SERVING, NOT_SERVING)
        server.registered.close()
        for updates in (of_server, of_model):
            assert (updates.code(), updates.details()) == (
                grpc.StatusCode.UNAVAILABLE,
                "the server is stopping; watch another one",
            )


def test_what_is_due_is_sent_before_the_end() -> None:
    """Drain and close in one breath still tell NOT_SERVING."""
    with running() as server:
        updates = watch(server, "")
        assert next(updates).status == SERVING
        server.registered.health.drain()
        server.registered.close()
        assert [update.status for update in iter(lambda: next_or_none(updates), None)] == [NOT_SERVING]


def next_or_none(updates: Any) -> Any:
    """The next update, or None where the server ended the watch."""
    try:
        return next(updates)
    except grpc.RpcError:
        return None


def test_watches_hold_no_thread() -> None:
    """A server with one thread keeps many and still answers."""
    with running(threads=1) as server:
        watches = [watch(server, "iris") for _ in range(20)]
        assert [next(updates).status for updates in watches] == [SERVING] * 20
        assert server.call("ServerLive", ServerLiveRequest()).live
        failed(server.registry, "iris", "broken", 1)
        failed(server.registry, "iris", "broken", 3)
        assert [next(updates).status for updates in watches] == [NOT_SERVING] * 20
        for updates in watches:
            updates.cancel()


def test_a_watch_that_ended_is_forgotten() -> None:
    """Also one that ended before it began."""
    health = Health(some_registry(), lambda: True)
    gone, context = FakeContext(active=False), FakeContext()
    health.watch("iris", gone, lambda _response: None)
    health.watch("iris", context, lambda _response: None)
    context.callback()
    assert not health._watchers
    assert not health._due
    health.close()


def test_a_watcher_that_does_not_read_is_cut_off_and_holds_nobody_up() -> None:
    """Others get their updates, and the thread that changes models never waits."""
    registry = some_registry()
    health = Health(registry, lambda: True, send_timeout_s=0.05)
    stuck = [FakeContext() for _ in range(12)]
    for context in stuck:
        health.watch("iris", context, context.block)
    updates: queue.SimpleQueue[Any] = queue.SimpleQueue()
    health.watch("iris", FakeContext(), updates.put)
    assert updates.get(timeout=CALL_TIMEOUT_S).status == SERVING
    health.close()
    assert all(context.cancelled.is_set() for context in stuck)


def test_a_watch_that_raises_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and cut off, and the notifier goes on."""
    health = Health(some_registry(), lambda: True)

    def broken(_response: object) -> None:
        raise OSError("broken")

    context = FakeContext()
    health.watch("iris", context, broken)
    updates: queue.SimpleQueue[Any] = queue.SimpleQueue()
    health.watch("iris", FakeContext(), updates.put)
    assert updates.get(timeout=CALL_TIMEOUT_S).status == SERVING
    health.close()
    assert updates.get(timeout=CALL_TIMEOUT_S) is None
    assert context.cancelled.is_set()
    assert "a health watch could not be served" in caplog.text


def test_the_number_of_watches_and_the_length_of_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller chooses both."""
    monkeypatch.setattr(health_module, "_WATCHERS", 1)
    health = Health(some_registry(), lambda: True)
    health.watch("n" * 1024, FakeContext(), lambda _response: None)
    with pytest.raises(InvalidRequest) as long:
        health.watch("n" * 1025, FakeContext(), lambda _response: None)
    with pytest.raises(Overloaded) as many:
        health.watch("", FakeContext(), lambda _response: None)
    health.close()
    with pytest.raises(ShuttingDown) as late:
        health.watch("", FakeContext(), lambda _response: None)
    assert long.value.message == (
        f"service '{'n' * 80}...' (1,025 characters): expected the name of a model, of 1,024 characters at most"
    )
    assert many.value.message == "1 health watches are open, the most this server keeps; call Check, or end some"
    assert late.value.message == "the server is stopping; watch another one"


def test_close_may_be_called_twice() -> None:
    """Stopping is never an error."""
    health = Health(some_registry(), lambda: True)
    health.close()
    health.close()
