"""Config override (JSON) and model files uploaded with a load call, as in Triton's model repository extension.

Uploaded files are written to a private folder that exists only while the model is loaded; what is served is in memory
or mapped. A caller cannot choose a location on disk: file names are checked against an alphabet and against the model's
references.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import DEFAULT_MODEL_FILENAME, check_config
from sardonyx_server.repository.filesystem import os_problem
from sardonyx_server.repository.graph import read_graph
from sardonyx_server.repository.model_folder import read_model_folder
from sardonyx_server.repository.spec import ConfigOverride, ModelSpec
from sardonyx_server.text import one_line, quoted
from sardonyx_wire.messages import POOL, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["is_plain_file_name", "parse_config_override", "uploaded_model"]

_MIB: Final = 2**20
# Configs usually have a few kilobytes.
_CONFIG_LIMIT_BYTES: Final = _MIB
_PROBLEM_LIMIT_BYTES: Final = 300
_UNKNOWN_FIELD: Final = re.compile(r'Message type "([\w.]+)" has no field named "(.*?)" at "', re.DOTALL)
_CLASS: Final = re.compile(r"\b[A-Z]\w*Error: ")
# Starts with a letter or digit: no hidden files, no '..'. No '/' and no '\\': no folders, on any system.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@ -]{0,254}")


def is_plain_file_name(name: str) -> bool:
    """Whether an uploaded file may have this name: a plain name without special meaning to a file system."""
    return _FILE_NAME.fullmatch(name) is not None


def parse_config_override(text: str, name: str) -> ConfigOverride:
    """Parse a config override: a ModelConfig in protobuf's JSON mapping.

    Raises:
        LoadFailed: It is not valid JSON of a ModelConfig, is for another model, or has an invalid value.
    """
    subject = f"the given config of model {quoted(name)}"
    if len(text) > _CONFIG_LIMIT_BYTES:
        raise LoadFailed(f"{subject} has {len(text):,} characters, expected at most {_CONFIG_LIMIT_BYTES:,}")
    fields = _json_object(text, subject)
    config = ModelConfig()
    try:
        # From the text, because a dictionary hides duplicate keys.
        json_format.Parse(text, config, descriptor_pool=POOL)
    except (json_format.ParseError, RecursionError) as error:
        raise LoadFailed(f"{subject}: {_problem(str(error))}") from error
    if config.HasField("model_operations"):
        raise LoadFailed(
            f"{subject}: model_operations names a library, which only the operator of the server may choose; remove it"
        )
    check_config(config, name, subject)
    states_batch_size = not fields.keys().isdisjoint({"max_batch_size", "maxBatchSize"})
    return ConfigOverride(
        message=config,
        declines_batching=states_batch_size and config.max_batch_size == 0,
        fingerprint=hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest(),
    )


@contextlib.contextmanager
def uploaded_model(
    name: str, override: ConfigOverride, files: Mapping[tuple[int, str], bytes], *, private_parent: Path | None = None
) -> Iterator[ModelSpec]:
    """A model made of uploaded files, which are deleted when the context ends, or at the latest with the process.

    Args:
        name: Name of the model, valid according to ``name_problem``.
        override: Its config.
        files: (version, file name) -> contents; names valid according to ``is_plain_file_name``.
        private_parent: Parent of the private folder; None = the system's temporary folder.

    Raises:
        LoadFailed: The files are not a model, or cannot be written.
    """
    _check_files(name, override, files)
    with contextlib.ExitStack() as undo:
        try:
            # mkdtemp: mode 0700. Its finalizer removes the folder even if the loading thread never returns.
            private = tempfile.TemporaryDirectory(prefix="sardonyx-", dir=private_parent, ignore_cleanup_errors=True)
            folder = Path(undo.enter_context(private)) / name
            _write(folder, files)
            spec = read_model_folder(folder, override, files_are_uploaded=True)
        except OSError as error:
            problem = "no space left for them" if error.errno == errno.ENOSPC else f"a file {os_problem(error)}"
            raise LoadFailed(f"the given files of model {quoted(name)}: {problem}") from error
        yield spec


def _json_object(text: str, subject: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise LoadFailed(f"{subject} is no JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise LoadFailed(f"{subject}: a number in it is too long, or it is nested too deeply") from error
    if not isinstance(found, dict):
        raise LoadFailed(f"{subject}: expected a JSON object, such as {{}}")
    return found


def _check_files(name: str, override: ConfigOverride, files: Mapping[tuple[int, str], bytes]) -> None:
    """Reject versions without a model, and files that no model references."""
    model_name = override.message.default_model_filename or DEFAULT_MODEL_FILENAME
    for version in sorted({version for version, _ in files}):
        subject = f"version {version} of model {quoted(name)}"
        data = files.get((version, model_name))
        if data is None:
            raise LoadFailed(f"{subject}: expected 'file:{version}/{model_name}' among the given files")
        locations = {os.path.normpath(location) for location in read_graph(data, subject).external_data_locations}
        for other in sorted(other for number, other in files if number == version and other != model_name):
            if other not in locations:
                known = ", ".join(map(quoted, sorted(locations))) or "none"
                raise LoadFailed(
                    f"{subject}: file {quoted(other)} is not asked for; external data of the model: {known}"
                )


def _write(folder: Path, files: Mapping[tuple[int, str], bytes]) -> None:
    folder.mkdir(mode=0o700)
    for (version, name), data in files.items():
        place = folder / str(version)
        place.mkdir(mode=0o700, exist_ok=True)
        with (place / name).open("xb") as file:
            file.write(data)


def _problem(error: str) -> str:
    """Protobuf's error as one short line; for an unknown field with the list of known ones."""
    unknown = _UNKNOWN_FIELD.search(error)
    if unknown is None:
        return one_line(_CLASS.sub("", error).rstrip("."), _PROBLEM_LIMIT_BYTES)
    message = POOL.FindMessageTypeByName(unknown[1])
    known = ", ".join(field.name for field in message.fields)
    return f"{message.name} has no field {quoted(unknown[2])}; it has {known}"
