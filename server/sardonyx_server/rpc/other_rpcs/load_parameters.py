"""Checks the parameters of RepositoryModelLoad and RepositoryModelUnload: their names, types and values.

    config                      string, a ModelConfig as JSON
    file:<version>/<name>       bytes, one file of a version; only with a config
    unload_dependents           bool

Neither reads nor writes files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.repository.model_folder import is_version
from sardonyx_server.repository.model_override import is_plain_file_name
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.messages import ModelRepositoryParameter

__all__ = ["LoadParameters", "check_unload_parameters", "read_load_parameters"]

_CONFIG: Final = "config"
_FILE: Final = "file:"
_DEPENDENTS: Final = "unload_dependents"
# A model and its external data. Exporters that write one file for each weight produce the most files.
_MOST_FILES: Final = 1_024
_KINDS: Final = {
    "bool_param": "a boolean",
    "int64_param": "an integer",
    "string_param": "a string",
    "bytes_param": "bytes",
    None: "nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadParameters:
    """The parameters of a load.

    Attributes:
        config: A ModelConfig as JSON; None if it was not sent.
        files: (version, file name) -> contents; empty without a config.
    """

    config: str | None
    files: Mapping[tuple[int, str], bytes]


def read_load_parameters(parameters: Mapping[str, ModelRepositoryParameter]) -> LoadParameters:
    """Check the parameters of a load.

    Raises:
        InvalidRequest: A parameter is unknown, has a wrong type, or does not name a file of a version.
    """
    config: str | None = None
    files: dict[tuple[int, str], bytes] = {}
    # The number of files is checked before any of them is read.
    if len(parameters) > _MOST_FILES + 1:
        raise InvalidRequest(
            f"parameters: expected at most {_MOST_FILES:,} files and a config, got {len(parameters):,}",
            field="parameters",
        )
    for key, value in sorted(parameters.items()):
        if key == _CONFIG:
            config = _value(key, value, "string_param")
        elif key.startswith(_FILE):
            files[_place(key)] = _value(key, value, "bytes_param")
        else:
            raise InvalidRequest(
                f"parameter {quoted(key)}: expected 'config' or 'file:<version>/<name>'",
                field=f"parameters[{quoted(key)}]",
            )
    if files and config is None:
        raise InvalidRequest(
            "parameters: files came without a config; send 'config' too, '{}' at least", field="parameters['config']"
        )
    return LoadParameters(config=config, files=files)


def check_unload_parameters(parameters: Mapping[str, ModelRepositoryParameter]) -> None:
    """Check the parameters of an unload. They have no effect, since no model depends on another.

    Raises:
        InvalidRequest: A parameter is unknown or has a wrong type.
    """
    for key, value in sorted(parameters.items()):
        if key != _DEPENDENTS:
            raise InvalidRequest(
                f"parameter {quoted(key)}: expected '{_DEPENDENTS}'", field=f"parameters[{quoted(key)}]"
            )
        _value(key, value, "bool_param")


def _place(key: str) -> tuple[int, str]:
    version, slash, name = key.removeprefix(_FILE).partition("/")
    if not (slash and is_version(version) and is_plain_file_name(name)):
        raise InvalidRequest(
            f"parameter {quoted(key)}: expected 'file:<version>/<name>', such as 'file:1/model.onnx'; a version is a "
            "positive integer without leading zeros, a name begins with a letter or a digit and has besides these only "
            "spaces and ._+=@-",
            field=f"parameters[{quoted(key)}]",
        )
    return int(version), name


def _value(key: str, parameter: ModelRepositoryParameter, kind: str) -> Any:
    got = parameter.WhichOneof("parameter_choice")
    if got != kind:
        raise InvalidRequest(
            f"parameter {quoted(key)}: expected {_KINDS[kind]}, got {_KINDS[got]}", field=f"parameters[{quoted(key)}]"
        )
    return getattr(parameter, kind)
