"""The C++ echo: what is said where it cannot be built, and that it is not built twice."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.limits.cpp_echo.build import CppEchoMissing, build


def _has_grpc() -> bool:
    tools = [shutil.which(tool) for tool in ("g++", "pkg-config")]
    return all(tools) and not subprocess.run([str(tools[1]), "--exists", "grpc++"], check=False).returncode


needs_grpc = pytest.mark.skipif(not _has_grpc(), reason="needs g++ and gRPC for C++ (Debian: libgrpc++-dev)")


@needs_grpc
def test_a_source_that_does_not_compile_is_named_with_the_compilers_words(tmp_path: Path) -> None:
    """And leaves no program behind."""
    source = tmp_path / "echo.cc"
    source.write_text("int main() { return nothing; }\n")
    with pytest.raises(CppEchoMissing, match=r"^the C\+\+ echo does not compile here: .*nothing"):
        build(source, tmp_path / "built")
    assert list((tmp_path / "built").iterdir()) == []


@needs_grpc
def test_a_source_is_compiled_once(tmp_path: Path) -> None:
    """And again once it has changed."""
    source, folder = tmp_path / "echo.cc", tmp_path / "built"
    source.write_text("int main() { return 0; }\n")
    first = build(source, folder)
    made_ns = first.stat().st_mtime_ns
    assert build(source, folder) == first
    assert first.stat().st_mtime_ns == made_ns
    source.write_text("int main() { return 1; }\n")
    assert build(source, folder) != first


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Debian, by the names of its packages."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CppEchoMissing, match=r"needs g\+\+.*apt-get install g\+\+ pkg-config libgrpc\+\+-dev"):
        build(tmp_path / "echo.cc", tmp_path)
