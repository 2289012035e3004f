"""Files that are opened and must not change meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.stable_file import STILL_BEING_WRITTEN, open_no_follow, open_unchanged

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = "version 1 of model 'm'"


def test_a_link_that_appears_after_the_check_is_not_followed(tmp_path: Path) -> None:
    """Each folder on the way is opened by itself, without links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/w.bin").write_bytes(b"weights")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/link").symlink_to("w.bin")
    os.close(open_no_follow(str(tmp_path), "real/w.bin"))
    for place in ("link/w.bin", "real/link"):
        with pytest.raises(OSError, match=r"link|directory"):
            open_no_follow(str(tmp_path), place)


@pytest.mark.parametrize("change", ["append", "touch", "replace", "delete"])
def test_a_file_that_changes_meanwhile_is_still_being_written(tmp_path: Path, change: str) -> None:
    """Size, time or inode differ behind from before; the reason tells the caller to try again."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"one")

    def meddle() -> None:
        if change == "append":
            file.write_bytes(b"one two")
        elif change == "touch":
            os.utime(file, ns=(1, 1))
        elif change == "replace":
            status = file.stat()
            (tmp_path / "new").write_bytes(b"two")
            os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
            (tmp_path / "new").rename(file)
        else:
            file.unlink()

    def read() -> None:
        with open_unchanged(os.open(file, os.O_RDONLY), file, SUBJECT) as opened:
            assert opened.read() == b"one"
            meddle()

    with pytest.raises(LoadFailed) as caught:
        read()
    assert caught.value.message == f"{SUBJECT}: 'model.onnx' is still being written"
    assert caught.value.reason == STILL_BEING_WRITTEN


def test_nonsense_in_a_file_that_changes_is_no_verdict_on_it(tmp_path: Path) -> None:
    """Half a model is 'still being written', not 'no ONNX model'; when it holds still, the verdict counts."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"half")

    def judge(*, meddle: bool) -> None:
        with open_unchanged(os.open(file, os.O_RDONLY), file, SUBJECT):
            if meddle:
                file.write_bytes(b"half and half")
            raise LoadFailed("no ONNX model")

    with pytest.raises(LoadFailed) as caught:
        judge(meddle=True)
    assert caught.value.reason == STILL_BEING_WRITTEN
    with pytest.raises(LoadFailed, match=r"^no ONNX model$") as caught:
        judge(meddle=False)
    assert caught.value.reason == "LOAD_FAILED"
