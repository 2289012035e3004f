"""When the client shares memory with a server: which addresses, which calls, and what it does after a refusal."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_client import Client, DeadlineExceeded, InvalidArgument, Retry, Share, Unavailable
from sardonyx_client._core import Core
from sardonyx_client._error_details import ErrorDetails
from sardonyx_client._request import Request
from sardonyx_client._shm_pool.region_pool import RegionPool, Use
from sardonyx_client._shm_pool.shared_region import SharedRegion, remove_leftovers
from sardonyx_client._shm_transfer.negotiation import EXTENSION, probe_timeout_s
from sardonyx_client._shm_transfer.protocol import ShmProtocol
from sardonyx_client._shm_transfer.same_host import is_same_host
from sardonyx_wire.messages import ServerMetadataResponse, SystemSharedMemoryRegisterResponse
from tests.client.servers import TinyServer, echo, hang, refuse, say
from tests.client.waiting import BOUND_S
from tests.descriptors import SHARED_MEMORY, descriptors_of

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDS_MEMORY = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no POSIX shared memory")  # noqa: S108
LARGE = np.ones(50_000, np.float32)
KIB = 1024
USES: tuple[Use, ...] = ("inputs", "outputs")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "unix:/run/s.sock", "unix-abstract:s", "dns:///localhost:1",
     "ipv4:127.0.0.9:8001", "dns:127.0.0.1:1"],
)  # fmt: skip
def test_loopback_and_unix_sockets_are_near(address: str) -> None:
    """Whatever the scheme."""
    assert is_same_host(address)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1:8001", "server:8001", "ipv4:127.0.0.1:1,127.0.0.1:2", "dns:///server:1", "127.0.0.1", "", "xds:///x"],
)
def test_all_else_is_not(address: str) -> None:
    """Nor are several addresses."""
    assert not is_same_host(address)


@pytest.mark.parametrize(("min_bytes", "max_bytes"), [(0, 1), (2, 1)])
def test_impossible_options_are_refused(min_bytes: int, max_bytes: int) -> None:
    """At once."""
    with pytest.raises(InvalidArgument) as caught:
        Share(min_bytes=min_bytes, max_bytes=max_bytes)
    assert caught.value.message == (f"Share: expected 0 < min_bytes <= max_bytes, got {min_bytes} and {max_bytes}")


def methods(server: TinyServer) -> list[str]:
    """Names of the RPCs that were called."""
    return [call.method.rpartition("/")[2] for call in server.calls]


OFFERS = say(ServerMetadataResponse(extensions=[EXTENSION]))


@NEEDS_MEMORY
class TestFallback:
    """The call is answered, whatever the server says to the memory."""

    @pytest.mark.parametrize(
        "answers",
        [
            {},
            {"ServerMetadata": say(ServerMetadataResponse(extensions=["system_shared_memory"]))},
            {"ServerMetadata": say(b"\xff")},
            {"ServerMetadata": OFFERS},
            {
                "ServerMetadata": OFFERS,
                "SystemSharedMemoryRegister": refuse(grpc.StatusCode.INVALID_ARGUMENT, "another user's"),
            },
        ],
        ids=["no metadata", "no extension", "no message", "no registration", "refused"],
    )
    def test_a_server_that_cannot_gets_messages(self, answers: dict[str, Any]) -> None:
        """And is not asked again at every call."""
        with TinyServer(ModelInfer=echo, **answers) as server, Client(server.address) as client:
            for _ in range(3):
                np.testing.assert_array_equal(client.infer("m", x=LARGE)["x"], LARGE)
        called = methods(server)
        assert called.count("ServerMetadata") == 1
        assert called.count("SystemSharedMemoryRegister") <= 1
        assert called.count("ModelInfer") == 3

    def test_an_unavailable_server_is_tried_again_by_the_usual_way(self) -> None:
        """Unless the caller wants no retries."""
        seen: list[int] = []

        def busy(request: Any, context: grpc.ServicerContext) -> Any:
            seen.append(len(request.raw_input_contents))
            return (
                echo(request, context)
                if request.raw_input_contents
                else context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
            )

        answers = {"ServerMetadata": OFFERS, "SystemSharedMemoryRegister": say(SystemSharedMemoryRegisterResponse())}
        with TinyServer(ModelInfer=busy, **answers) as server:
            with Client(server.address) as client:
                np.testing.assert_array_equal(client.infer("m", x=LARGE)["x"], LARGE)
            with Client(server.address, retry=None) as client, pytest.raises(Unavailable, match="busy"):
                client.infer("m", x=LARGE, request_id="r")
        assert seen == [0, 1, 0]

    @pytest.mark.parametrize("silent", ["ServerMetadata", "SystemSharedMemoryRegister"])
    def test_a_server_that_does_not_answer_costs_a_part_of_the_callers_time(
        self, make_http2: Callable[..., Any], silent: str
    ) -> None:
        """The question alone would wait for all of it. It is not asked again at once."""
        answers = {"ServerMetadata": OFFERS, silent: hang}
        with TinyServer(ModelInfer=echo, **answers) as server, make_http2(server.address) as client:
            # Of a list nobody sees the size, but the answer tells that the next ones want room, too.
            client.infer("m", x=LARGE.tolist())
            for _ in range(2):
                np.testing.assert_array_equal(client.infer("m", x=LARGE, timeout_s=BOUND_S)["x"], LARGE)
        called = methods(server)
        assert called.count(silent) == 1
        assert called.count("ModelInfer") == 3

    def test_a_server_elsewhere_is_not_asked(self) -> None:
        """Unless the caller says so: another container may have the same memory."""
        with TinyServer(ModelInfer=echo) as server:
            port = server.address.rpartition(":")[2]
            for any_address in (False, True):
                with Client(f"0.0.0.0:{port}", share=Share(any_address=any_address)) as client:
                    client.infer("m", x=LARGE)
        assert methods(server) == ["ModelInfer", "ServerMetadata", "ModelInfer"]


class TestPatience:
    """A question that no caller has asked for is short."""

    def test_it_takes_a_quarter_of_what_is_left_and_a_second_at_most(self) -> None:
        """A call without a limit has one for its questions."""
        assert [probe_timeout_s(remaining_s) for remaining_s in (0.0, 2.0, 60.0, None)] == [0.0, 0.5, 1.0, 1.0]

    @pytest.mark.parametrize(
        ("waited_s", "later_s", "asks_again"),
        [(1.0, 59.0, False), (1.0, 60.0, True), (0.25, 14.0, False), (0.25, 15.0, True), (0.0, 0.0, True)],
    )
    def test_the_longer_one_waited_in_vain_the_later_one_asks_again(
        self, waited_s: float, later_s: float, *, asks_again: bool
    ) -> None:
        """A caller who had no time learned nothing."""
        now_s = [5.0]
        core = Core(address="", timeout_s=None, metadata={}, token=None, on_call=None)
        protocol = ShmProtocol(Share(), core, retry=None, clock=lambda: now_s[0])
        request = Request("m", {"x": LARGE})
        steps = protocol.infer(request, no_deadline=False)
        next(steps)
        now_s[0] += waited_s
        with pytest.raises(StopIteration) as stopped:
            steps.throw(DeadlineExceeded("no answer"))
        assert stopped.value.value is None
        now_s[0] += later_s
        assert protocol.applies_to(request) == asks_again

    @pytest.mark.parametrize(
        ("no_deadline", "retry_after_s", "waits"), [(False, 3600, True), (True, 60, True), (True, 61, False)]
    )
    def test_a_call_without_a_limit_does_not_wait_for_hours(
        self, no_deadline: bool, retry_after_s: float, waits: bool
    ) -> None:
        """A minute, where the server says so; one with a limit waits until that."""
        core = Core(address="", timeout_s=None, metadata={}, token=None, on_call=None)
        protocol = ShmProtocol(Share(), core, retry=Retry())
        steps = protocol.infer(Request("m", {"x": LARGE}), no_deadline=no_deadline)
        next(steps)
        steps.send(ServerMetadataResponse(extensions=[EXTENSION]).SerializeToString())
        steps.send(b"")
        busy = Unavailable("busy", details=ErrorDetails(retry_after_s=retry_after_s))
        if waits:
            assert steps.throw(busy) == retry_after_s
        else:
            with pytest.raises(Unavailable, match="busy"):
                steps.throw(busy)
        protocol.close()


@NEEDS_MEMORY
class TestPool:
    """Regions of one client."""

    def test_a_region_is_used_again_by_requests_of_about_its_size(self) -> None:
        """Once it was given back."""
        pool = RegionPool(1024 * KIB)
        first = pool.acquire(200 * KIB, "inputs")
        assert first is not None
        region, is_new = first
        assert is_new
        pool.release(region)
        assert pool.acquire(210 * KIB, "inputs") == (region, False)
        pool.clear()

    def test_one_that_a_view_lies_in_comes_back_with_the_last_view(self) -> None:
        """Whatever was made of it."""
        pool = RegionPool(1024 * KIB)
        taken = pool.acquire(64 * KIB, "inputs")
        assert taken is not None
        view = taken[0].view()
        pool.release_with_view(view, taken[0])
        array = np.frombuffer(view[100:200].data, np.float32)[::2].reshape(-1, 1)
        del view
        gc.collect()
        other = pool.acquire(64 * KIB, "inputs")
        assert other is not None
        assert other[0] is not taken[0]
        del array
        gc.collect()
        assert pool.acquire(64 * KIB, "inputs") == (taken[0], False)
        pool.clear()

    def test_regions_of_inputs_and_of_outputs_do_not_change_places(self) -> None:
        """Whoever has written to one last has it in its caches."""
        pool = RegionPool(1024 * KIB)
        taken = {use: pool.acquire(64 * KIB, use) for use in USES}
        # In the order of a call: its inputs come back first, its outputs with the result.
        for use in USES:
            first = taken[use]
            assert first is not None
            pool.release(first[0])
        for use in USES:
            first = taken[use]
            assert first is not None
            assert pool.acquire(64 * KIB, use) == (first[0], False)
        pool.clear()

    def test_regions_that_wait_make_place_for_others(self) -> None:
        """Those in use do not."""
        pool = RegionPool(256 * KIB)
        taken = pool.acquire(200 * KIB, "inputs")
        assert taken is not None
        assert pool.acquire(64 * KIB, "inputs") is None
        pool.release(taken[0])
        assert pool.acquire(64 * KIB, "inputs") is not None
        assert pool.acquire(257 * KIB, "inputs") is None
        pool.clear()

    def test_one_that_was_let_go_does_not_come_back(self) -> None:
        """Although somebody gives it back later."""
        pool = RegionPool(1024 * KIB)
        taken = pool.acquire(64 * KIB, "inputs")
        assert taken is not None
        pool.discard(taken[0])
        pool.release(taken[0])
        again = pool.acquire(64 * KIB, "inputs")
        assert again is not None
        assert again[1]
        pool.clear()

    def test_a_machine_without_memory_costs_no_room(self) -> None:
        """The next try finds it all."""
        wishes = [OSError("full"), None]

        def make(size_bytes: int) -> SharedRegion:
            if wishes and (wish := wishes.pop(0)) is not None:
                raise wish
            return SharedRegion(size_bytes)

        pool = RegionPool(64 * KIB, make)
        with pytest.raises(OSError, match="full"):
            pool.acquire(64 * KIB, "inputs")
        assert pool.acquire(64 * KIB, "inputs") is not None
        pool.clear()

    def test_a_pool_that_nobody_forgot_leaves_no_descriptor(self) -> None:
        """Of a client that was dropped without being closed: its memory would stay as long as the process."""
        gc.collect()
        before = descriptors_of(SHARED_MEMORY)
        pool = RegionPool(1024 * KIB)
        taken = pool.acquire(64 * KIB, "outputs")
        assert taken is not None
        assert descriptors_of(SHARED_MEMORY) > before
        taken[0].write(0, b"seven")
        view = taken[0].view()
        pool.release_with_view(view, taken[0])
        del pool, taken
        gc.collect()
        assert bytes(view[:5]) == b"seven"  # a result stays good
        del view
        gc.collect()
        assert descriptors_of(SHARED_MEMORY) == before


@NEEDS_MEMORY
class TestLeftovers:
    """Names of objects whose client was killed."""

    def test_only_those_that_nobody_holds_are_removed(self, tmp_path: Path) -> None:
        """Another client may be about to register its own."""
        (tmp_path / "sardonyx_client_dead").touch()
        (tmp_path / "other").touch()
        region = SharedRegion(64 * KIB, folder=tmp_path)
        region.link()
        remove_leftovers(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other", region.name]
        region.close()
        region.close()
        assert [path.name for path in tmp_path.iterdir()] == ["other"]

    def test_a_folder_that_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        """There is nothing to remove."""
        remove_leftovers(tmp_path / "nowhere")
