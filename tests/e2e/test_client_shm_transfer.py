"""The client's large tensors in shared memory: used where they can be, missed by nobody where not, and left nowhere."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from sardonyx_client import AsyncClient, Client, Coalesce, DeadlineExceeded, Hedge, InvalidArgument, NotFound, Share
from tests.e2e.memory import NEEDS_POSIX_MEMORY, regions, unregister
from tests.e2e.messages import infer_request
from tests.e2e.servers import ALLOW_ALL, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sardonyx_client import CallRecord

pytestmark = NEEDS_POSIX_MEMORY

FOLDER: Final = Path("/dev/shm")  # noqa: S108  # looked at, nothing is made there
COUNT: Final = 50_000
SMALL_MESSAGE_BYTES: Final = 1000


def rows(first: float = 0.0) -> NDArray[np.float32]:
    """200 kB."""
    return np.arange(first, first + COUNT, dtype=np.float32)[np.newaxis]


def files() -> list[str]:
    """Of clients of this project; those of other processes are there for moments."""
    return sorted(path.name for path in FOLDER.glob("sardonyx_client_*"))


@pytest.fixture(autouse=True)
def nothing_is_left(server: Server) -> Iterator[None]:
    """No name, at any time but that of a registration; no region, once the client is closed."""
    yield
    eventually(lambda: files() == [], "no name is left")
    gc.collect()

    def forgotten() -> bool:
        server.app._regions.remove_abandoned()
        return regions(server) == {}

    eventually(forgotten, "no region is left")
    server.assert_well()


@pytest.fixture
def records() -> list[CallRecord]:
    """What the client told of its calls."""
    return []


@pytest.fixture
def client(server: Server, records: list[CallRecord]) -> Iterator[Client]:
    """As it is by default."""
    with Client(server.app.address, on_call=records.append) as connected:
        yield connected


def sizes(records: list[CallRecord]) -> list[tuple[bool, bool]]:
    """Of each inference: whether its input was sent in the message, and whether its output was."""
    return [
        (record.request_bytes > SMALL_MESSAGE_BYTES, record.response_bytes > SMALL_MESSAGE_BYTES)
        for record in records
        if record.rpc == "ModelInfer"
    ]


def test_large_tensors_are_shared_without_being_asked_for(client: Client, records: list[CallRecord]) -> None:
    """Inputs from the first call on; outputs as soon as the client knows how large they are."""
    for first in range(4):
        result = client.infer("wide", x=rows(first), request_id=f"r{first}", outputs=["y"] if first == 3 else None)
        np.testing.assert_array_equal(result["y"], rows(first))
        assert (result.request_id, result.parameters) == (f"r{first}", {})
        assert not result["y"].flags.writeable
    assert sizes(records) == [(False, True), (False, False), (False, False), (False, False)]
    assert all(record.code == "OK" for record in records)


def test_small_tensors_are_sent(client: Client, records: list[CallRecord]) -> None:
    """Without a question to the server."""
    client.infer("wide", x=rows()[:, :100])
    assert [record.rpc for record in records] == ["ModelInfer"]


def test_asyncio_shares_too(server: Server, records: list[CallRecord]) -> None:
    """Many calls at once, each with its own memory."""

    async def converse() -> None:
        async with AsyncClient(server.app.address, on_call=records.append) as client:
            await client.infer("wide", x=rows())
            results = await asyncio.gather(*(client.infer("wide", x=rows(first)) for first in range(8)))
        for first, result in enumerate(results):
            np.testing.assert_array_equal(result["y"], rows(first))

    asyncio.run(converse())
    assert sizes(records)[1:] == [(False, False)] * 8


def test_threads_get_their_own_answers(client: Client, records: list[CallRecord]) -> None:
    """Memory is used again, but never while somebody needs it."""

    def ask(first: int) -> bool:
        return bool((client.infer("wide", x=rows(first))["y"] == rows(first)).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(100)))
    assert sum(record.rpc == "SystemSharedMemoryRegister" for record in records) <= 2 * 8 + 2


def test_a_result_stays_good_as_long_as_it_is_kept(server: Server) -> None:
    """Through further calls, and beyond the end of the client; a view of a view keeps it too."""
    with Client(server.app.address) as client:
        client.infer("wide", x=rows())
        kept = [client.infer("wide", x=rows(first))["y"][0, 1::2] for first in range(20)]
    for first, array in enumerate(kept):
        np.testing.assert_array_equal(array, rows(first)[0, 1::2])


def test_memory_has_a_limit_and_what_does_not_fit_is_sent(server: Server, records: list[CallRecord]) -> None:
    """Such as where many results are kept."""
    share = Share(max_bytes=1024 * 1024)
    with Client(server.app.address, share=share, on_call=records.append) as client:
        kept = [client.infer("wide", x=rows(first)) for first in range(8)]
        assert sum(size for _, _, size in regions(server).values()) <= share.max_bytes
    for first, result in enumerate(kept):
        np.testing.assert_array_equal(result["y"], rows(first))
    assert sizes(records)[-1] == (False, True)


@pytest.mark.parametrize("options", [{"share": None}, {"hedge": Hedge()}], ids=["off", "hedged"])
def test_it_can_be_turned_off(server: Server, records: list[CallRecord], options: dict[str, Any]) -> None:
    """And is, where a call may run twice."""
    with Client(server.app.address, on_call=records.append, **options) as client:
        for _ in range(2):
            client.infer("wide", x=rows())
    assert {record.rpc for record in records} == {"ModelInfer"}
    assert sizes(records) == [(True, True)] * 2


def test_joined_calls_share(server: Server, records: list[CallRecord]) -> None:
    """The joined request is large where no call was."""
    with Client(server.app.address, coalesce=Coalesce(max_rows=8), on_call=records.append) as client:
        for first in range(3):
            np.testing.assert_array_equal(client.infer("wide", x=rows(first))["y"], rows(first))
    assert sizes(records) == [(False, True), (False, False), (False, False)]


def test_a_server_that_does_not_allow_it_is_asked_once(models: Path, records: list[CallRecord]) -> None:
    """And gets its tensors in messages."""
    with Server(models, "lane") as careful, Client(careful.app.address, on_call=records.append) as client:
        for first in range(3):
            np.testing.assert_array_equal(client.infer("wide", x=rows(first))["y"], rows(first))
    assert [record.rpc for record in records] == ["ServerMetadata", *["ModelInfer"] * 3]


def test_a_server_that_has_forgotten_the_memory_is_no_error(
    server: Server, client: Client, records: list[CallRecord]
) -> None:
    """As after a restart: that call is sent, the next is shared again."""
    for first in range(5):
        np.testing.assert_array_equal(client.infer("wide", x=rows(first))["y"], rows(first))
        if first == 2:
            unregister(server)
            records.clear()
    assert [(record.rpc, record.code) for record in records][:2] == [("ModelInfer", "NOT_FOUND"), ("ModelInfer", "OK")]
    assert sizes(records) == [(False, False), (True, True), (False, False)]


def test_a_server_that_is_started_again_is_no_error(models: Path) -> None:
    """At the same address."""
    with Server(models, "lane", **ALLOW_ALL) as first:
        port = int(first.app.address.rpartition(":")[2])
        client = Client(first.app.address)
        for _ in range(3):
            client.infer("wide", x=rows())
    with Server(models, "lane", **ALLOW_ALL, grpc_port=port), client:
        for number in range(3):
            np.testing.assert_array_equal(client.infer("wide", x=rows(number))["y"], rows(number))


def test_errors_are_those_of_a_call_that_is_sent(client: Client) -> None:
    """With the request's id, the field, and no word of memory."""
    with pytest.raises(InvalidArgument, match=r"^input 'x' of model 'wide': expected FP32 \[-1,-1\]") as caught:
        client.infer("wide", x=rows()[0], request_id="r1")
    assert (caught.value.request_id, caught.value.field) == ("r1", "inputs[0].shape")
    with pytest.raises(NotFound, match=r"^unknown model 'nobody'"):
        client.infer("nobody", x=rows())
    client.infer("wide", x=rows())


def test_memory_of_a_call_that_timed_out_is_not_used_again(server: Server, client: Client) -> None:
    """The server may still write there."""
    for _ in range(2):
        client.infer("wide", x=rows())
    before = set(regions(server))
    with server.holding(infer_request("wide", x=rows()[:, :1]), model="wide") as hold:
        with pytest.raises(DeadlineExceeded):
            client.infer("wide", x=rows(1), timeout_s=0.05)
        hold.release()
    np.testing.assert_array_equal(client.infer("wide", x=rows(2))["y"], rows(2))
    assert before.isdisjoint(regions(server))


CALLS = """
import sys
import numpy as np
from sardonyx_client import Client
client = Client(sys.argv[1])
for _ in range(3):
    result = client.infer("wide", x=np.ones((1, 50_000), np.float32))
print("called", flush=True)
sys.stdin.read()
"""

PUBLISHES = """
import os, signal
from sardonyx_client._shm_pool.shared_region import SharedRegion
region = SharedRegion(100_000)
region.link()
print(region.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of this interpreter, with this project."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nothing_is_left_of_a_client_that_is_killed(server: Server) -> None:
    """Neither a file nor, once the server has looked, a region."""
    with start(CALLS, server.app.address) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "called\n"
        eventually(lambda: files() == [], "no name is left")
        server.app._regions.remove_abandoned()
        assert regions(server)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    server.app._regions.remove_abandoned()
    assert regions(server) == {}


def test_a_name_that_a_killed_client_could_not_remove_is_removed_by_the_next(client: Client) -> None:
    """It has a name for the time of one call only."""
    with start(PUBLISHES) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert process.wait(60) == -signal.SIGKILL
    assert name in files()
    client.infer("wide", x=rows())
    assert name not in files()


def test_the_server_looks_by_itself(server: Server, client: Client) -> None:
    """While there are regions with owners."""
    client.infer("wide", x=rows())
    assert server.app._regions._watching
    eventually(lambda: len(regions(server)) == 1, "the region is there as long as its owner is")
