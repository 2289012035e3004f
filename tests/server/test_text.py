"""What a caller, a file or the operator chose, as it stands in a message."""

from __future__ import annotations

import sys

import pytest

from sardonyx_server.text import host_and_port, one_line, pip_install, quoted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("iris", "'iris'"),
        ("", "''"),
        ("modèle", "'modèle'"),
        ("a\x00b\nc\x1b", r"'a\x00b\nc\x1b'"),
        ("it's", r"'it\'s'"),
        ("a\\b", r"'a\\b'"),
        ("\u202egnp.exe", r"'\u202egnp.exe'"),
        ("\ud800", r"'\ud800'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 1_048_576, f"'{'x' * 80}...' (1,048,576 characters)"),
    ],
)
def test_a_quoted_name_is_short_and_printable(name: str, expected: str) -> None:
    """Whatever the name holds."""
    assert quoted(name) == expected


@pytest.mark.parametrize(
    ("text", "limit_bytes", "expected"),
    [("abc", 3, "abc"), ("abcdef", 5, "ab..."), ("ééé", 6, "ééé"), ("éééé", 6, "é..."), ("\n" * 9, 7, r"\n\n...")],
)
def test_a_text_is_cut_between_characters(text: str, limit_bytes: int, expected: str) -> None:
    """Never more than the limit in UTF-8, and never half a character."""
    assert one_line(text, limit_bytes) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1:80"), ("localhost", "localhost:80"), ("::1", "[::1]:80"), ("[::]", "[::]:80")],
)
def test_an_address_can_be_told_from_its_port(host: str, expected: str) -> None:
    """Of IPv6 too, with and without the brackets."""
    assert host_and_port(host, 80) == expected


def test_an_extra_is_installed_where_the_program_is() -> None:
    """Another pip would put it elsewhere, or know no sardonyx at all."""
    assert pip_install("bench") == f"{sys.executable} -m pip install 'sardonyx[bench]'"
