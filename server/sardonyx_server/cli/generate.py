"""The command ``client generate``: writes typed Python code for the models of a server or a repository."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sardonyx_server.cli.client_tls import NO_TLS, ClientTls
from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.infer import describe_error, open_client
from sardonyx_server.cli.loading import scan_paths
from sardonyx_server.cli.output import write_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from sardonyx_client import Client
    from sardonyx_client.generated import ModelSignature

__all__ = ["run_generate"]


def run_generate(
    out: Path,
    *,
    url: str,
    repository: Sequence[Path],
    models: Collection[str],
    timeout_s: float,
    metadata: Iterable[tuple[str, str]] = (),
    tls: ClientTls = NO_TLS,
) -> int:
    """Writes or updates a package; files that are already up to date are not touched.

    Args:
        out: Its folder; created if missing.
        url: ``host:port`` of the server; used if ``repository`` is empty.
        repository: Where to read models from disk instead; no model is run.
        models: Names of the models; empty = all.
        timeout_s: Timeout of each request to the server.
        metadata: Sent with each of them.
        tls: TLS of the connection to it.

    Raises:
        CliError: The server cannot be reached, a model is unknown, or ``out`` holds files that were not generated.
        LoadFailed: A model of the repository cannot be loaded.
    """
    from sardonyx_client import BadResponse
    from sardonyx_client.generate import generate

    signatures = _of_repository(repository, models) if repository else _of_server(url, models, timeout_s, metadata, tls)
    try:
        files = generate(signatures)
    except BadResponse as error:
        raise CliError(ExitCode.REQUEST_FAILED, error.message) from None
    written, removed = _write(out, files)
    what = "1 model" if len(signatures) == 1 else f"{len(signatures)} models"
    write_line(f"{out}: {what}; {written} files written, {removed} removed, {len(files) - written} unchanged")
    return int(ExitCode.OK)


def _of_repository(paths: Sequence[Path], models: Collection[str]) -> list[ModelSignature]:
    from sardonyx_client.generated import ModelSignature
    from sardonyx_server.errors import LoadFailed
    from sardonyx_server.repository.served_signature import served_signature
    from sardonyx_server.repository.spec import BrokenModel

    found = scan_paths(paths)
    unknown = sorted(set(models) - found.keys())
    if unknown:
        raise CliError(ExitCode.USAGE, f"no model {unknown[0]!r} here; models: {', '.join(sorted(found))}")
    signatures: list[ModelSignature] = []
    for name in sorted(set(models or found)):
        spec = found[name]
        hint = "" if models else " (--model names those to generate, without this one)"
        if isinstance(spec, BrokenModel):
            raise LoadFailed(f"model {name!r}: {spec.reason}{hint}")
        try:
            inputs, outputs = served_signature(spec, max(spec.versions))
        except LoadFailed as error:
            raise LoadFailed(error.message + hint) from error
        signatures.append(ModelSignature(model=name, inputs=inputs, outputs=outputs))
    return signatures


def _of_server(
    url: str, models: Collection[str], timeout_s: float, metadata: Iterable[tuple[str, str]], tls: ClientTls
) -> list[ModelSignature]:
    from sardonyx_client import ClientError

    try:
        with open_client(url, timeout_s=timeout_s, metadata=metadata, tls=tls) as client:
            names = sorted(set(models)) or _ready_models(client)
            if not names:
                raise CliError(ExitCode.REQUEST_FAILED, f"server {url} has no model that is ready")
            return [_asked(client, name) for name in names]
    except ClientError as error:
        raise CliError(ExitCode.REQUEST_FAILED, describe_error(error, url)) from None


def _ready_models(client: Client) -> list[str]:
    from sardonyx_client import Unimplemented

    try:
        return sorted({entry.name for entry in client.repository.index(ready=True)})
    except Unimplemented:
        pass
    try:
        # Not every server has a repository index; statistics name every loaded model.
        return sorted({each.name for each in client.statistics()})
    except Unimplemented:
        raise CliError(ExitCode.REQUEST_FAILED, "this server cannot list its models; name them with --model") from None


def _asked(client: Client, name: str) -> ModelSignature:
    from sardonyx_client import Unimplemented
    from sardonyx_client.generated import ModelSignature

    info = client.metadata(name)
    try:
        config = client.config(name)
        optional = {each.name for each in config.input if each.optional}
    except Unimplemented:  # an extension of the protocol; without it no input is known to be optional
        optional = set()
    inputs = tuple(replace(spec, optional=spec.name in optional) for spec in info.inputs)
    return ModelSignature(model=name, inputs=inputs, outputs=info.outputs)


def _write(out: Path, files: Mapping[str, str]) -> tuple[int, int]:
    """Writes the files; returns (written, removed). Changes nothing if an existing file was not generated."""
    from sardonyx_client.generate import MARK

    if out.exists() and not out.is_dir():
        raise CliError(ExitCode.USAGE, f"--out {str(out)!r}: expected a folder, got a file")
    try:
        there = {path.name: path.read_bytes() for path in out.glob("*.py")} if out.exists() else {}
        for name in sorted(files.keys() & there.keys()):
            if there[name].strip() and not there[name].startswith(MARK.encode()):
                raise CliError(
                    ExitCode.USAGE, f"--out {str(out)!r}: {name} there was not generated; choose a folder of its own"
                )
        out.mkdir(parents=True, exist_ok=True)
        changed = [name for name, text in files.items() if not _holds(out / name, text)]
        for name in changed:
            (out / name).write_bytes(files[name].encode())
        stale = [name for name, text in there.items() if name not in files and text.startswith(MARK.encode())]
        for name in stale:
            (out / name).unlink()
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"--out {str(out)!r}: {error.strerror}") from error
    return len(changed), len(stale)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
