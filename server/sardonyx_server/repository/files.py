"""Takes a copy of one version's files that nobody can change any more, and reads what its graph declares.

A file that is replaced while it is mapped can end the process, and one that is still being written loads as garbage. So
a model is read whole, into memory, when it holds still. Where its weights lie in files beside it, onnxruntime must load
it from a path (given bytes, it would look for them in the current directory): then everything is copied to a private
folder. Opens no session.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import inside, shown_path
from sardonyx_server.repository.filesystem import os_problem
from sardonyx_server.repository.graph import Graph, GraphCache
from sardonyx_server.repository.hashed_content import concatenate, copy_file
from sardonyx_server.repository.model_folder import version_problem
from sardonyx_server.repository.stable_file import READ_FLAGS, open_no_follow, open_unchanged
from sardonyx_server.repository.zipmap import apply_edits
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from types import TracebackType

    from sardonyx_server.repository.hashed_content import HashedContent
    from sardonyx_server.repository.spec import ModelSpec

__all__ = ["ModelFiles", "take_private_copy"]

_MIB: Final = 2**20
# The most that one read gives on Linux, and within a page protobuf's limit on one message.
_MODEL_LIMIT_BYTES: Final = 2**31 - 4096
# onnxruntime reads memory addresses out of tensors whose data lie "there"; only it may write such a location.
_MEMORY_MARK: Final = "_ORT_MEM_ADDR_"


@dataclass(slots=True, eq=False, kw_only=True)
class ModelFiles:
    """One version's files, ours alone. Usable as a context manager.

    Attributes:
        model_bytes: The model with the edits of ``graph``; None where it must be loaded from ``path``.
        path: The model as a file: in memory, or in a private folder. None where ``model_bytes`` is set.
        has_external_data: Whether external data lie beside ``path``.
        graph: What the model declares.
        model_digest: SHA-256 of the model as it lay on disk, without external data.
    """

    model_bytes: bytes | None
    path: Path | None
    has_external_data: bool = False
    graph: Graph
    model_digest: bytes
    _content: HashedContent | None = field(default=None, repr=False)
    _private: Path | None = field(default=None, repr=False)

    def digest(self) -> bytes:
        """SHA-256 of all that was taken: the model, and its external data under their names. Blocks: reads those.

        Requires: not closed.
        """
        if self._private is None:
            return self.model_digest
        whole = hashlib.sha256()
        for file in sorted(self._private.rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").digest()
                # Of a fixed length each, so that no two lists of files read the same.
                whole.update(hashlib.sha256(os.fsencode(file.relative_to(self._private))).digest() + content)
        return whole.digest()

    def size_bytes(self) -> int:
        """Of all that was taken: the model, and its external data. Requires: not closed."""
        if self._private is None:
            return 0 if self._content is None else self._content.size_bytes
        return sum(file.stat().st_size for file in self._private.rglob("*") if file.is_file())

    def close(self) -> None:
        """Let go of the bytes and remove the private folder. May be repeated.

        Sessions that were opened before are not disturbed: what they have mapped stays until they unmap it.
        """
        self.model_bytes = self.path = None
        content, self._content = self._content, None
        if content is not None:
            content.close()
        private, self._private = self._private, None
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def take_private_copy(
    spec: ModelSpec, version: int, *, private_parent: Path | None = None, graphs: GraphCache | None = None
) -> ModelFiles:
    """Copy one version's files. Blocks for as long as it takes to read them; callable from any thread.

    Args:
        spec: As ``scan`` found it.
        version: One of ``spec.versions``.
        private_parent: Where a private folder is made, if there must be one; None means the system's temporary folder.
        graphs: What was read before; None = nothing.

    Returns:
        Files that belong to the caller, who closes them when the sessions are opened.

    Raises:
        LoadFailed: A file is missing, no regular file, no ONNX model, names data outside of its folder, or cannot be
            copied. ``reason`` is ``STILL_BEING_WRITTEN`` where it changed meanwhile.
    """
    file = spec.files[version]
    subject = f"version {version} of model {quoted(spec.name)}"
    problem = version_problem(spec.name, version, file)
    if problem:
        raise LoadFailed(problem)
    try:
        return _take(file, subject, private_parent, graphs or GraphCache())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise LoadFailed(f"{subject}: no space left for a private copy of its external data") from error
        raise LoadFailed(f"{subject}: a file of it {os_problem(error)}") from error


def _take(file: Path, subject: str, private_parent: Path | None, graphs: GraphCache) -> ModelFiles:
    # The outer context undoes what was made where the last look at the file, at the inner one's end, finds a change.
    with contextlib.ExitStack() as undo:
        with open_unchanged(os.open(file, READ_FLAGS), file, subject) as opened:
            size = os.fstat(opened.fileno()).st_size
            if size > _MODEL_LIMIT_BYTES:
                raise LoadFailed(
                    f"{subject}: {quoted(file.name)} has {size:,} bytes, expected at most {_MODEL_LIMIT_BYTES:,}; "
                    "save the weights as external data"
                )
            content = copy_file(opened, size)
            undo.callback(content.close)
            graph, digest = graphs.read(content, subject), content.digest
            if graph.edits:
                with content.view() as data:
                    whole, content = content, concatenate(tuple(apply_edits(data, graph.edits)))
                whole.close()
                undo.callback(content.close)
            files = ModelFiles(
                model_bytes=content.data, path=content.path, graph=graph, model_digest=digest, _content=content
            )
            if graph.external_data_locations:
                places = sorted(
                    {_checked_location(location, file, subject) for location in graph.external_data_locations}
                )
                files = _in_private_folder(file, content, files, places, private_parent)
                undo.callback(files.close)
        undo.pop_all()
        return files


def _checked_location(location: str, file: Path, subject: str) -> str:
    """The location of external data in its shortest form.

    Raises:
        LoadFailed: It may lead out of the model's folder, to the model itself, or to memory.
    """
    if not inside(location) or _MEMORY_MARK in location:
        raise LoadFailed(
            f"{subject}: external data {shown_path(location)}: expected a path inside the version folder, without '..'"
        )
    short = os.path.normpath(location)
    if short == file.name:
        raise LoadFailed(f"{subject}: external data {shown_path(location)} is the model itself")
    return short


def _in_private_folder(
    file: Path, content: HashedContent, files: ModelFiles, places: list[str], private_parent: Path | None
) -> ModelFiles:
    """Copy external data and model to a folder that only this user can enter (mkdtemp: 0700)."""
    private = Path(tempfile.mkdtemp(prefix="sardonyx-", dir=private_parent))
    try:
        for place in places:
            target = private / place
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _open_external(file.parent, place, files.graph.subject) as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy, _MIB)
        path = private / file.name
        with content.view() as data:
            path.write_bytes(data)
        content.close()
    except BaseException:
        shutil.rmtree(private, ignore_errors=True)
        raise
    return replace(files, model_bytes=None, path=path, has_external_data=True, _content=None, _private=private)


@contextlib.contextmanager
def _open_external(folder: Path, place: str, subject: str) -> Iterator[FileIO]:
    """Open external data, sure that it is a file of its own inside the folder. Links that stay inside are followed."""
    subject = f"{subject}: external data {shown_path(place)}"
    root = os.path.realpath(folder)
    real = os.path.realpath(folder / place)
    if os.path.commonpath((root, real)) != root or real == root:
        raise LoadFailed(f"{subject} is a link out of the version folder; put the file itself there")
    try:
        descriptor = open_no_follow(root, os.path.relpath(real, root))
    except OSError as error:
        raise LoadFailed(f"{subject} {os_problem(error)}") from error
    with open_unchanged(descriptor, Path(real), subject) as opened:
        # A hard link is how a file from elsewhere gets in unseen; onnxruntime follows it.
        if os.fstat(opened.fileno()).st_nlink != 1:
            raise LoadFailed(f"{subject} has hard links; put a copy of the file there")
        yield opened
