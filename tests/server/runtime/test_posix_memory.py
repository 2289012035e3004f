"""POSIX shared memory objects: which may be opened, and what their owner may do to them meanwhile."""

from __future__ import annotations

import errno
import fcntl
import gc
import itertools
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sardonyx_server.engine.shared_memory.region import DeferredRead
from sardonyx_server.errors import InvalidRequest, TryLater, Unsupported
from sardonyx_server.runtime.posix_memory import PosixMemory, open_memory
from tests.descriptors import descriptors_of

WHAT = "shared memory region 'r'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of objects; ``object`` has the bytes 0 to 99."""
    (tmp_path / "object").write_bytes(bytes(range(100)))
    return tmp_path


def opened(folder: Path, key: str = "/object", offset: int = 0, byte_size: int = 100) -> PosixMemory:
    """A part of an object of the folder."""
    return open_memory(WHAT, key, offset, byte_size, folder=folder)


@pytest.mark.parametrize("key", ["object", "/object"])
def test_a_part_of_an_object_is_read_and_written(folder: Path, key: str) -> None:
    """From where the part begins."""
    memory = opened(folder, key, offset=10, byte_size=20)
    assert bytes(DeferredRead(memory, 0, 20).copy()) == bytes(range(10, 30))
    assert bytes(DeferredRead(memory, 20, 0).copy()) == b""
    memory.write(5, memoryview(b"abc"))
    assert (folder / "object").read_bytes() == bytes(range(15)) + b"abc" + bytes(range(18, 100))


def test_the_descriptor_is_closed_with_the_last_reference(folder: Path) -> None:
    """And one that may not be used at once."""
    gc.collect()  # what other tests have left
    before = descriptors_of(str(folder))
    memory = opened(folder)
    assert descriptors_of(str(folder)) == before + 1
    del memory
    gc.collect()
    assert descriptors_of(str(folder)) == before
    with pytest.raises(InvalidRequest):
        opened(folder, byte_size=101)
    gc.collect()
    assert descriptors_of(str(folder)) == before


def test_an_object_without_a_name_is_still_there(folder: Path) -> None:
    """As with shm_unlink."""
    memory = opened(folder)
    (folder / "object").unlink()
    assert bytes(DeferredRead(memory, 99, 1).copy()) == b"\x63"


def test_an_object_that_nobody_has_locked_has_no_owner(folder: Path) -> None:
    """So it is never abandoned, whoever locks it later; several servers may have it open."""
    memory, other = opened(folder), opened(folder)
    with (folder / "object").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not memory.has_owner
    assert not other.has_owner
    assert not memory.is_abandoned()


def test_an_object_is_abandoned_when_its_lock_is_gone(folder: Path) -> None:
    """Seen by all who have it open."""
    with (folder / "object").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        memory, other = opened(folder), opened(folder)
        assert memory.has_owner
        assert not memory.is_abandoned()
    assert memory.is_abandoned()
    assert other.is_abandoned()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "//object",
        "/object/",
        "..",
        "/..",
        ".",
        "/./object",
        "../object",
        "a/b",
        "\0",
        "object\0",
        "k" * 256,
        "é" * 128,
    ],
)
def test_a_key_that_is_no_single_name_is_refused(folder: Path, key: str) -> None:
    """A caller selects no path."""
    with pytest.raises(InvalidRequest) as caught:
        opened(folder, key)
    assert caught.value.message == (
        f"key of {WHAT}: expected one name of 1 to 255 bytes, such as '/my_region', without a further slash"
    )
    assert caught.value.field == "key"


@pytest.mark.parametrize(
    "key", ["triton_python_backend_shm_region_1", "/sardonyx_server_x", "sem.lock", "/cuda.shm.0.1f.1"]
)
def test_names_that_others_keep_there_are_refused(folder: Path, key: str) -> None:
    """Whether or not they exist."""
    (folder / key.removeprefix("/")).write_bytes(bytes(100))
    with pytest.raises(InvalidRequest, match=r"^key of .*: names that begin with '[a-z_.]+' are reserved; take"):
        opened(folder, key)


def a_link(path: Path) -> None:
    """To an object that may be opened."""
    path.symlink_to(path.parent / "object")


def a_fifo(path: Path) -> None:
    """To open one for reading would wait for a writer."""
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    """As /dev/shm may have."""
    path.mkdir()


def a_file_of_another_user(path: Path) -> None:
    """Only root can give files away."""
    path.write_bytes(bytes(100))
    try:
        os.chown(path, 12345, -1)
    except PermissionError:
        pytest.skip("only root can make a file of another user")


def nothing(path: Path) -> None:
    """Nobody made it."""
    assert not path.exists()


@pytest.mark.parametrize("make", [a_link, a_fifo, a_folder, a_file_of_another_user, nothing])
def test_what_is_no_object_of_this_user_is_refused_in_the_same_words(
    folder: Path, make: Callable[[Path], None]
) -> None:
    """A caller does not learn what lies there, nor where."""
    make(folder / "odd")
    gc.collect()  # what other tests have left
    before = descriptors_of(str(folder))
    with pytest.raises(InvalidRequest) as caught:
        opened(folder, "/odd")
    assert caught.value.message == (
        f"key of {WHAT} names no shared memory object that this server's user owns; create it first, as that user"
    )
    assert caught.value.field == "key"
    del caught
    gc.collect()
    assert descriptors_of(str(folder)) == before


def test_a_part_beyond_the_object_is_refused(folder: Path) -> None:
    """Numbers of any size."""
    for offset, byte_size in ((0, 101), (100, 1), (2**64 - 1, 1), (1, 2**64 - 1)):
        with pytest.raises(InvalidRequest) as caught:
            opened(folder, offset=offset, byte_size=byte_size)
        assert caught.value.message == (
            f"{WHAT}: {byte_size} bytes at offset {offset} go beyond the end of the object, which has 100 bytes"
        )


def test_an_object_that_became_smaller_is_an_error_and_is_not_made_larger(folder: Path) -> None:
    """Reading it by a mapping would kill the process."""
    memory = opened(folder, offset=10, byte_size=90)
    os.truncate(folder / "object", 50)
    expected = (
        f"{WHAT} has become smaller since it was registered: its object has 50 bytes, and the request needs 51; "
        "unregister it and register it again"
    )
    with pytest.raises(InvalidRequest) as caught:
        DeferredRead(memory, 0, 41).copy()
    assert caught.value.message == expected
    with pytest.raises(InvalidRequest) as caught:
        memory.write(40, b"x")
    assert caught.value.message == expected
    assert (folder / "object").stat().st_size == 50
    assert bytes(DeferredRead(memory, 0, 40).copy()) == bytes(range(10, 50))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may become larger: stands for a machine without memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_that_cannot_be_had_is_an_error(folder: Path) -> None:
    """Pages come into being when they are written."""
    memory = opened(folder)
    with largest_file(50), pytest.raises(TryLater, match=rf"^{WHAT} could not be written: .*; retry later$"):
        memory.write(60, b"x")


def test_a_process_without_descriptors_says_so(folder: Path) -> None:
    """The caller can free some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            taken.extend(os.open(folder, os.O_RDONLY) for _ in itertools.repeat(None))
        with pytest.raises(TryLater, match=r"has no file descriptor left; unregister regions, or retry later$"):
            opened(folder)
        os.close(taken.pop())
        with pytest.raises(TryLater, match=r"has no file descriptor left"):
            opened(folder)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_machine_without_posix_shared_memory_says_so(tmp_path: Path) -> None:
    """Such as one that is not Linux."""
    with pytest.raises(Unsupported) as caught:
        opened(tmp_path / "nowhere")
    assert caught.value.message == "this machine has no POSIX shared memory; send tensors in the message"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 60),
    start=st.integers(0, 40),
    later=st.integers(0, 100),
    offset=st.integers(0, 60),
    count=st.integers(0, 60),
)
def test_whatever_its_owner_does_an_object_keeps_its_size(
    folder: Path, size: int, start: int, later: int, offset: int, count: int
) -> None:
    """Registered at one size and used at another: the bytes, or an error, and no byte elsewhere is touched.

    Who reads no bytes gets them wherever the object ends.
    """
    path = folder / "object"
    path.write_bytes(bytes(range(100)))
    memory = opened(folder, offset=start, byte_size=size)
    os.truncate(path, later)
    before = path.read_bytes()
    first, end = start + offset, start + offset + count
    if end > later:
        with pytest.raises(InvalidRequest, match="has become smaller") if count else nullcontext():
            DeferredRead(memory, offset, count).copy()
        with pytest.raises(InvalidRequest, match="has become smaller"):
            memory.write(offset, b"x" * count)
        assert path.read_bytes() == before
    else:
        assert bytes(DeferredRead(memory, offset, count).copy()) == before[first:end]
        memory.write(offset, b"x" * count)
        assert path.read_bytes() == before[:first] + b"x" * count + before[end:]
