"""Parses config.pbtxt into a ModelConfig, finds fields without effect, and applies the version policy.

``effective_config`` compares the config with the graph; ``model_override`` parses configs that are uploaded as JSON.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import one_line, quoted
from sardonyx_wire.messages import POOL, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sardonyx_wire.messages import ModelVersionPolicy

__all__ = [
    "DEFAULT_MODEL_FILENAME",
    "check_config",
    "declines_batching",
    "inside",
    "parse_config",
    "select_versions",
    "shown_path",
    "unused_fields",
]

DEFAULT_MODEL_FILENAME: Final = "model.onnx"

_PLATFORM: Final = "onnxruntime_onnx"
_BACKEND: Final = "onnxruntime"
_LINE_LIMIT_BYTES: Final = 200
# Each instance is a thread and each priority a queue; more is a mistake or an attack.
_MAX_INSTANCES: Final = 1_024
_MAX_PRIORITIES: Final = 1_024
# Each named version that is missing becomes a failed version, with a line in the log and in the index.
_MAX_NAMED_VERSIONS: Final = 1_024

# Fields that have an effect, by path; True = with all fields below. `format` only informs callers.
_USED: Final[Mapping[str, Any]] = {
    "name": True,
    "platform": True,
    "backend": True,
    "version_policy": True,
    "max_batch_size": True,
    "input": {"name": True, "data_type": True, "format": True, "dims": True, "reshape": True, "optional": True},
    "output": {"name": True, "data_type": True, "dims": True, "reshape": True, "label_filename": True},
    "optimization": {"execution_accelerators": True, "graph": {"level": True}},
    "dynamic_batching": True,
    "instance_group": {"name": True, "kind": True, "count": True, "gpus": True},
    "default_model_filename": True,
    "parameters": True,
    "model_warmup": True,
    "response_cache": True,
}

_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:")
_POSITION: Final = re.compile(r"^(\d+):(\d+) : ")
_QUOTED_VALUE: Final = re.compile(r'Enum type "[\w.]+" has no value named "\w+"')
_UNKNOWN_FIELD: Final = re.compile(r'^Message type "([\w.]+)" has no field named "(.*)"\.$', re.DOTALL)
# Comments and strings are matched first, so that text inside them is not taken for a field.
_STATED_BATCH_SIZE: Final = re.compile(r"#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|\b(max_batch_size)\b")


def parse_config(text: str, name: str) -> ModelConfig:
    """Parse a config.pbtxt.

    Args:
        text: The file's contents.
        name: The model's name, which is that of its folder.

    Returns:
        The parsed config with the name filled in.

    Raises:
        LoadFailed: It is not a valid text protobuf of ModelConfig, or for another model, or not for ONNX.
    """
    config = ModelConfig()
    try:
        text_format.Parse(text, config, descriptor_pool=POOL)
    except text_format.ParseError as error:
        raise LoadFailed(_syntax_message(text, name, str(error))) from error
    check_config(config, name, f"config.pbtxt of model {quoted(name)}")
    return config


def check_config(config: ModelConfig, name: str, subject: str) -> None:
    """Reject values that are invalid for any graph; fill in the name.

    Args:
        config: Modified in place.
        name: The model's.
        subject: What messages call the config.

    Raises:
        LoadFailed: It is for another model, not for ONNX, or has an invalid value.
    """
    if config.name not in {"", name}:
        raise LoadFailed(
            f"{subject}: name is {quoted(config.name)}, expected {quoted(name)}, the folder's name; remove the line or "
            "rename the folder"
        )
    config.name = name
    for field, value, expected in (("platform", config.platform, _PLATFORM), ("backend", config.backend, _BACKEND)):
        if value and value != expected:
            kinds = "ensembles are not served: let callers call its models one after the other"
            raise LoadFailed(
                f"{subject}: {field} is {quoted(value)}, expected '{expected}'; "
                + (kinds if value == "ensemble" else "only ONNX models are served here")
            )
    if config.max_batch_size < 0:
        raise LoadFailed(f"{subject}: max_batch_size is {config.max_batch_size}, expected 0 or more")
    for group in config.instance_group:
        if group.count < 0:
            raise LoadFailed(
                f"{subject}: instance_group.count is {group.count}, expected 1 or more, or 0 to have it measured"
            )
    instances = sum(max(1, group.count) * max(1, len(group.gpus)) for group in config.instance_group)
    if instances > _MAX_INSTANCES:
        raise LoadFailed(
            f"{subject}: the sum of instance_group.count is {instances:,}, expected at most {_MAX_INSTANCES:,}"
        )
    levels = config.dynamic_batching.priority_levels
    if levels > _MAX_PRIORITIES:
        raise LoadFailed(
            f"{subject}: dynamic_batching.priority_levels is {levels:,}, expected at most {_MAX_PRIORITIES:,}"
        )
    if config.default_model_filename and not inside(config.default_model_filename):
        raise LoadFailed(
            f"{subject}: default_model_filename is {shown_path(config.default_model_filename)}, "
            "expected a file inside the version folder, without '..'"
        )


def declines_batching(text: str, config: ModelConfig) -> bool:
    """Whether a config.pbtxt states ``max_batch_size: 0``, which the parsed message cannot distinguish from unset."""
    # No nested message of ModelConfig has a field of this name, so any match is the top-level field.
    return config.max_batch_size == 0 and any(match[1] for match in _STATED_BATCH_SIZE.finditer(text))


def select_versions(policy: ModelVersionPolicy, available: Iterable[int], subject: str) -> tuple[int, ...]:
    """Versions to serve, ascending. Versions named by ``specific`` are included even if they are missing.

    Raises:
        LoadFailed: ``specific`` names no version, too many, or an invalid number.
    """
    numbers = sorted(available)
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return tuple(numbers)
    if choice == "specific":
        wanted = sorted(set(policy.specific.versions))
        if not wanted or wanted[0] < 1:
            got = wanted[0] if wanted else "none"
            raise LoadFailed(f"{subject}: version_policy.specific.versions: expected numbers from 1, got {got}")
        if len(wanted) > _MAX_NAMED_VERSIONS:
            raise LoadFailed(
                f"{subject}: version_policy.specific.versions: expected at most {_MAX_NAMED_VERSIONS:,} numbers, got "
                f"{len(wanted):,}"
            )
        return tuple(wanted)
    return tuple(numbers[-max(1, policy.latest.num_versions) :])


def unused_fields(config: ModelConfig) -> list[str]:
    """Paths of fields that are set but have no effect in this server, such as ``instance_group.profile``."""
    found: dict[str, None] = {}
    _collect_unused(config, _USED, "", found)
    return list(found)


def _collect_unused(message: Any, used: Mapping[str, Any], prefix: str, found: dict[str, None]) -> None:
    for field, value in message.ListFields():
        path, known = f"{prefix}{field.name}", used.get(field.name)
        if known is True:
            continue
        if isinstance(known, dict):
            for each in value if _is_repeated(value) else [value]:
                _collect_unused(each, known, f"{path}.", found)
        elif field.message_type is not None and not _is_repeated(value) and value.ListFields():
            _collect_unused(value, {}, f"{path}.", found)
        else:
            found[path] = None


def _is_repeated(value: object) -> bool:
    return not hasattr(value, "ListFields")


def inside(location: str) -> bool:
    """Whether a relative path stays inside its base folder, apart from symbolic links."""
    parts = location.split("/")
    return (
        bool(location)
        and not location.startswith("/")
        and "\\" not in location
        and location.isprintable()
        and ".." not in parts
        and parts[-1] not in {"", "."}
    )


def shown_path(location: str) -> str:
    """A path from a file, quoted for a message; an absolute path is shortened to its last component."""
    if _ABSOLUTE.match(location):
        location = "/.../" + location.replace("\\", "/").rpartition("/")[2]
    return quoted(location)


def _syntax_message(text: str, name: str, error: str) -> str:
    """Rewords protobuf's ``2:1 : Message type "inference.ModelConfig" has no field named "foo".``."""
    where, source = f"config.pbtxt of model {quoted(name)}", ""
    position = _POSITION.match(error)
    if position:
        line, column = int(position[1]), int(position[2])
        where += f", line {line}, column {column}"
        # protobuf counts only \n as a line end.
        lines = text.split("\n")
        source = one_line(lines[line - 1].strip(), _LINE_LIMIT_BYTES) if 0 < line <= len(lines) else ""
        error = error[position.end() :]
    unknown = _UNKNOWN_FIELD.match(error)
    if unknown:
        problem = _unknown_field(unknown[1], unknown[2])
    else:
        # Some of protobuf's messages start with the source line, which is appended below.
        problem = error.rpartition("': ")[2] if error.startswith("'") else error
    hint = "; write it without quotes" if _QUOTED_VALUE.search(problem) else ""
    problem = one_line(problem.rstrip("."), _LINE_LIMIT_BYTES) + hint
    return f"{where}: {problem}" + (f", in: {source}" if source else "")


def _unknown_field(message: str, field: str) -> str:
    known = [each.name for each in POOL.FindMessageTypeByName(message).fields]
    near = difflib.get_close_matches(field[:_LINE_LIMIT_BYTES], known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{message.rpartition('.')[2]} has no field {quoted(field)}{hint}"
