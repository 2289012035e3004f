"""Makes a private, immutable copy of one version's files and reads its graph.

A file that is truncated while it is mapped can kill the process, and one that is still being written loads as garbage.
A model is therefore read completely into memory once it is stable. If it has external data, onnxruntime must load it
from a path (given bytes, it would look for the data in the current directory), so all files are copied to a private
folder.
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
# The largest single read on Linux, and within a page of protobuf's message limit.
_MODEL_LIMIT_BYTES: Final = 2**31 - 4096
# onnxruntime interprets the data of such a location as a memory address; a file must not contain it.
_MEMORY_MARK: Final = "_ORT_MEM_ADDR_"


@dataclass(slots=True, eq=False, kw_only=True)
class ModelFiles:
    """A private copy of one version's files. A context manager.

    Attributes:
        model_bytes: The model with the edits of ``graph``; None if it must be loaded from ``path``.
        path: The model as a file, in memory or in a private folder. None if ``model_bytes`` is set.
        has_external_data: Whether external data are beside ``path``.
        graph: The graph's declarations.
        model_digest: SHA-256 of the model file on disk, without external data.
    """

    model_bytes: bytes | None
    path: Path | None
    has_external_data: bool = False
    graph: Graph
    model_digest: bytes
    _content: HashedContent | None = field(default=None, repr=False)
    _private: Path | None = field(default=None, repr=False)

    def digest(self) -> bytes:
        """SHA-256 of all files: the model, and names and contents of its external data. Blocks: reads the latter.

        Requires: not closed.
        """
        if self._private is None:
            return self.model_digest
        whole = hashlib.sha256()
        for file in sorted(self._private.rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").digest()
                # Fixed-length parts, so that different lists of files cannot give the same input.
                whole.update(hashlib.sha256(os.fsencode(file.relative_to(self._private))).digest() + content)
        return whole.digest()

    def size_bytes(self) -> int:
        """Total size of the model and its external data. Requires: not closed."""
        if self._private is None:
            return 0 if self._content is None else self._content.size_bytes
        return sum(file.stat().st_size for file in self._private.rglob("*") if file.is_file())

    def close(self) -> None:
        """Free the bytes and remove the private folder. Idempotent.

        Open sessions are not affected: mapped files persist until they are unmapped.
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
    """Copy one version's files. Blocks while it reads them; callable from any thread.

    Args:
        spec: From ``scan``.
        version: One of ``spec.versions``.
        private_parent: Parent of the private folder, if one is needed; None = the system's temporary folder.
        graphs: Cache of graphs; None = no cache.

    Returns:
        Owned by the caller, who closes it once the sessions are open.

    Raises:
        LoadFailed: A file is missing, not a regular file, not an ONNX model, references data outside of its folder, or
            cannot be copied. ``reason`` is ``STILL_BEING_WRITTEN`` if it changed meanwhile.
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
    # The outer context cleans up if the final check, at the end of the inner one, detects a change of the file.
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
    """The normalised location of external data.

    Raises:
        LoadFailed: It may lead out of the model's folder, to the model itself, or to a memory address.
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
    """Copy the model and its external data to a folder with mode 0700 (mkdtemp)."""
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
    """Open external data after checking that it is inside the folder. Symbolic links within the folder are followed."""
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
        # A hard link could smuggle in a file from elsewhere.
        if os.fstat(opened.fileno()).st_nlink != 1:
            raise LoadFailed(f"{subject} has hard links; put a copy of the file there")
        yield opened
