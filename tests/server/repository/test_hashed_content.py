"""What is taken of a file is all of it, can be read again and again, and is gone when it is closed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from sardonyx_server.repository.hashed_content import CHUNK_BYTES, HashedContent, concatenate, copy_file
from tests.descriptors import IN_MEMORY, descriptors_of

_LARGE = 9 * CHUNK_BYTES + 7
_IN_MEMORY = sys.platform == "linux"


def _write(file: Path, size: int) -> bytes:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    file.write_bytes(content)
    return content


def _take(file: Path, size: int) -> HashedContent:
    with file.open("rb", buffering=0) as opened:
        return copy_file(opened, size)


def _read(content: HashedContent) -> bytes:
    with content.view() as data:
        return bytes(data)


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES, CHUNK_BYTES + 1, _LARGE])
def test_all_of_a_file_is_taken(tmp_path: Path, size: int) -> None:
    """Of any size; small ones as bytes, large ones as a file where there are such."""
    data = _write(tmp_path / "model", size)
    content = _take(tmp_path / "model", size)
    assert _read(content) == _read(content) == data
    assert (content.size_bytes, content.digest) == (size, hashlib.sha256(data).digest())
    path = content.path
    assert (path is not None) == (_IN_MEMORY and size > CHUNK_BYTES)
    assert (content.data if path is None else path.read_bytes()) == data
    content.close()
    content.close()
    assert (content.data, content.path) == (None, None)
    assert path is None or not path.exists()


def test_nobody_can_write_to_what_is_seen(tmp_path: Path) -> None:
    """Of a file in memory, too."""
    _write(tmp_path / "model", _LARGE)
    content = _take(tmp_path / "model", _LARGE)
    with content.view() as data:
        assert memoryview(data).readonly
    content.close()


@pytest.mark.parametrize("left", [0, 5, CHUNK_BYTES, _LARGE - 5])
def test_what_a_file_lacks_of_its_size_is_left_out(tmp_path: Path, left: int) -> None:
    """It was cut meanwhile, which whoever holds it still finds out."""
    data = _write(tmp_path / "model", left)
    content = _take(tmp_path / "model", _LARGE)
    assert (content.size_bytes, _read(content)) == (left, data)
    content.close()


def test_what_a_file_has_beyond_its_size_is_left_out(tmp_path: Path) -> None:
    """It has grown meanwhile; likewise."""
    data = _write(tmp_path / "model", _LARGE + 5)
    content = _take(tmp_path / "model", _LARGE)
    assert (content.size_bytes, _read(content)) == (_LARGE, data[:_LARGE])
    content.close()


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES, CHUNK_BYTES + 1, _LARGE])
def test_parts_become_one(tmp_path: Path, size: int) -> None:
    """Of any size; what they were taken from can be closed before."""
    data = _write(tmp_path / "model", size)
    whole = _take(tmp_path / "model", size)
    with whole.view() as view:
        content = concatenate((view[: size // 3], b"new", view[size // 3 :], b""))
    whole.close()
    joined = data[: size // 3] + b"new" + data[size // 3 :]
    assert (_read(content), content.size_bytes) == (joined, size + 3)
    assert content.digest == hashlib.sha256(joined).digest()
    assert (content.path is not None) == (_IN_MEMORY and size + 3 > CHUNK_BYTES)
    content.close()


def test_a_part_may_outlive_the_view(tmp_path: Path) -> None:
    """As in the traceback of an error about it: the part stays readable."""
    data = _write(tmp_path / "model", _LARGE)
    content = _take(tmp_path / "model", _LARGE)
    with content.view() as whole:
        part = memoryview(whole)[-5:]
    content.close()
    assert bytes(part) == data[-5:]


@pytest.mark.skipif(not _IN_MEMORY, reason="only Linux has files in memory")
def test_what_cannot_be_copied_leaves_nothing_open() -> None:
    """Text is no bytes: that is found out when the file in memory is there."""
    opened = descriptors_of(IN_MEMORY)
    with pytest.raises(TypeError):
        concatenate(("x" * (CHUNK_BYTES + 1),))  # type: ignore[arg-type]  # as a bug would
    assert descriptors_of(IN_MEMORY) == opened


@pytest.mark.skipif(not _IN_MEMORY, reason="only Linux has files in memory")
@pytest.mark.parametrize("lacks", [CHUNK_BYTES, 3])
def test_where_no_file_can_be_as_large_there_are_bytes(tmp_path: Path, lacks: int) -> None:
    """A limit of the process on files is one on those in memory, too; what was begun is not left open.

    Where only the end of the last piece has no room, some of it is written before the error comes.
    """
    resource = pytest.importorskip("resource")
    data = _write(tmp_path / "model", _LARGE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    opened = descriptors_of(IN_MEMORY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGE - lacks, before[1]))
    try:
        content = _take(tmp_path / "model", _LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (content.data, content.path) == (data, None)
    assert descriptors_of(IN_MEMORY) == opened
