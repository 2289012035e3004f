"""The file of tokens: what its lines say, what is wrong with others, and when it is read again."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.errors import SettingsError
from sardonyx_server.rpc.access_control import digest
from sardonyx_server.rpc.token_file import TokenFile
from sardonyx_server.setting_types import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path

    from sardonyx_server.rpc.access_control import TokenScopes

A, B = "a-token-0123456789", "another.token~0123/+=="
EVERYTHING = frozenset(PROTOCOLS)
SHAPE = "expected a token, which has 16 characters or more, all of A-Z a-z 0-9 - . _ ~ + / and = at its end"
LIST = (
    "after the token, expected one list of protocols such as inference,metadata; there are health, metadata, "
    "inference, shared-memory, model-config, model-repository, statistics, trace, logging"
)


def written(folder: Path, text: str) -> Path:
    """A file with this text."""
    path = folder / "tokens"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_is_a_token_and_what_it_may_call(tmp_path: Path) -> None:
    """Blank lines, and what stands behind a #, are for people."""
    text = f"# the shop's, größer\n\n{A}  # all\n \t{B}\tinference,metadata # some\r\n"
    assert TokenFile(written(tmp_path, text)).read() == {
        digest(A.encode()): EVERYTHING,
        digest(B.encode()): frozenset({"inference", "metadata"}),
    }


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("short\n", 1, SHAPE),
        (f"# x\n{A}\nfünfzehn-und-mehr-Zeichen\n", 3, SHAPE),
        (f"Bearer {A}\n", 1, SHAPE),
        (f"{A}=x\n", 1, SHAPE),
        (f"{A} {B}\n", 1, LIST),
        (f"{A} inference metadata\n", 1, LIST),
        (f"{A} inference,\n", 1, LIST),
        (f"{A} Inference\n", 1, LIST),
        (f"{B}\n{A}\n\n{B} inference\n", 4, "this token is on line 1, too"),
    ],
)
def test_what_is_no_line_is_told_by_its_number(tmp_path: Path, text: str, line: int, problem: str) -> None:
    """And not by what stands there: a token may be in the wrong place."""
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        TokenFile(path).read()
    assert caught.value.message == f"auth_tokens_file: line {line} of '{path}': {problem}"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Not there, a folder, no text, or without a token."""
    missing = tmp_path / "missing"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe" + A.encode())
    empty = written(tmp_path, "# nothing yet\n")
    for path, text in (
        (missing, f"cannot read '{missing}': No such file or directory"),
        (tmp_path, f"cannot read '{tmp_path}': Is a directory"),
        (binary, f"'{binary}' is not UTF-8"),
        (empty, f"'{empty}' has no token, so nobody could call; 'openssl rand -hex 32' makes one"),
    ):
        with pytest.raises(SettingsError) as caught:
            TokenFile(path).read()
        assert caught.value.message == f"auth_tokens_file: {text}"


class Changes:
    """What is told of a file that is polled by hand."""

    def __init__(self, file: TokenFile) -> None:
        self.told: list[TokenScopes] = []
        self._file = file

    def poll(self) -> list[TokenScopes]:
        """All that was told up to now."""
        self._file.poll(self.told.append)
        return self.told


def test_a_change_is_told_when_the_file_is_at_rest(tmp_path: Path) -> None:
    """What changed since the last look may be half written."""
    path = written(tmp_path, f"{A}\n{B}\n")
    file = TokenFile(path)
    file.read()
    changes = Changes(file)
    assert changes.poll() == changes.poll() == []
    path.write_text(f"{A}\n{B[:5]}")
    assert changes.poll() == []
    path.write_text(f"{A}\n{B} inference\n# done\n")
    assert changes.poll() == []
    assert changes.poll() == [{digest(A.encode()): EVERYTHING, digest(B.encode()): frozenset({"inference"})}]
    assert len(changes.poll()) == 1


def test_a_file_behind_a_link_may_be_another_one(tmp_path: Path) -> None:
    """As Kubernetes renews what it mounts."""
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    old.write_text(f"{A}\n")
    new.write_text(f"{B}\n")
    link.symlink_to(old)
    file = TokenFile(link)
    file.read()
    changes = Changes(file)
    (tmp_path / "link2").symlink_to(new)
    (tmp_path / "link2").rename(link)
    changes.poll()
    assert changes.poll() == [{digest(B.encode()): EVERYTHING}]


def test_what_is_no_file_of_tokens_any_more_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, without what stands there; the next good one counts."""
    path = written(tmp_path, f"{A}\n")
    file = TokenFile(path)
    file.read()
    changes = Changes(file)
    path.unlink()
    with caplog.at_level(logging.DEBUG):
        for _ in range(4):
            assert changes.poll() == []
        path.write_text(f"{A} {B}\n")
        for _ in range(4):
            assert changes.poll() == []
    assert caplog.messages == [
        f"tokens stay as they were: auth_tokens_file: cannot read '{path}': No such file or directory",
        f"tokens stay as they were: auth_tokens_file: line 1 of '{path}': {LIST}",
    ]
    path.write_text(f"{B}\n")
    changes.poll()
    assert changes.poll() == [{digest(B.encode()): EVERYTHING}]


def test_a_file_that_cannot_be_read_once_is_read_at_the_next_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though its status is the same: a token that it revokes must not stay valid."""
    path = written(tmp_path, f"{A}\n{B}\n")
    file = TokenFile(path)
    file.read()
    changes = Changes(file)
    path.write_text(f"{A}\n")
    changes.poll()

    def no_descriptor(_path: Path, **_options: str) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "read_text", no_descriptor)
        for _ in range(3):
            assert changes.poll() == []
    assert caplog.messages == [f"tokens stay as they were: auth_tokens_file: cannot read '{path}': Too many open files"]
    assert changes.poll() == [{digest(A.encode()): EVERYTHING}]
    assert len(changes.poll()) == 1


def test_who_removes_the_last_token_means_it(tmp_path: Path) -> None:
    """Nobody has one then."""
    path = written(tmp_path, f"{A}\n")
    file = TokenFile(path)
    file.read()
    changes = Changes(file)
    path.write_text("")
    changes.poll()
    assert changes.poll() == [{}]
