"""The bytes of a large file lie in pages of their own, which are gone once they were let go."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.repository.pages import PIECE_BYTES, join, let_go, read_whole

if TYPE_CHECKING:
    from pathlib import Path

_LARGE = 9 * PIECE_BYTES + 7


def _read(file: Path, size: int) -> bytes | memoryview:
    with file.open("rb", buffering=0) as opened:
        return read_whole(opened, size)


@pytest.mark.parametrize("size", [0, 5, PIECE_BYTES, PIECE_BYTES + 1, _LARGE])
def test_all_of_a_file_is_read_and_can_be_let_go(tmp_path: Path, size: int) -> None:
    """Of any size, and nobody can write to what was read."""
    file = tmp_path / "model"
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file.write_bytes(content)
    data = _read(file, size)
    assert data == content
    assert memoryview(data).readonly
    let_go(data)


def test_what_a_file_lacks_of_its_size_is_left_out(tmp_path: Path) -> None:
    """It was cut meanwhile, which whoever holds it still finds out."""
    file = tmp_path / "model"
    file.write_bytes(b"x" * (_LARGE - 5))
    data = _read(file, _LARGE)
    assert len(data) == _LARGE - 5
    let_go(data)


def test_pages_that_were_let_go_are_closed(tmp_path: Path) -> None:
    """Not when somebody collects garbage: the memory is wanted."""
    file = tmp_path / "model"
    file.write_bytes(b"x" * _LARGE)
    data = _read(file, _LARGE)
    assert isinstance(data, memoryview)
    pages = data.obj
    assert isinstance(pages, mmap.mmap)
    let_go(data)
    assert pages.closed
    with pytest.raises(ValueError, match="released"):
        len(data)


@pytest.mark.parametrize("size", [0, 5, PIECE_BYTES, PIECE_BYTES + 1, _LARGE])
def test_parts_become_one_that_can_be_let_go(tmp_path: Path, size: int) -> None:
    """Of any size, read-only; what they were taken from can be let go before."""
    file = tmp_path / "model"
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file.write_bytes(content)
    whole = _read(file, size)
    view = memoryview(whole)
    data = join((view[: size // 3], b"new", view[size // 3 :], b""))
    view.release()
    let_go(whole)
    assert data == content[: size // 3] + b"new" + content[size // 3 :]
    assert memoryview(data).readonly
    let_go(data)
