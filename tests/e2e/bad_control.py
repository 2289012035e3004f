"""Bad requests: index, load and unload. Part of the table in bad_requests.py."""

from __future__ import annotations

import json
from typing import Any, Final

import grpc

from sardonyx_server.settings import MIB
from sardonyx_server.text import quoted
from sardonyx_wire.messages import (
    METHODS,
    RepositoryIndexRequest,
    RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
)
from tests.e2e.bad_names import ODD_NAMES
from tests.e2e.bad_request import BadRequest

__all__ = ["control"]

NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND
INDEX, LOAD, UNLOAD = (
    METHODS[name].path for name in ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload")
)

# Keys of files that lead elsewhere, or are none of a version.
BAD_KEYS: Final = (
    "file:",
    "file:1",
    "file:1/",
    "file:/1/model.onnx",
    "file:/etc/passwd",
    "file:model.onnx",
    "file:config.pbtxt",
    "file:0/model.onnx",
    "file:01/model.onnx",
    "file:-1/model.onnx",
    "file:+1/model.onnx",
    "file:1e3/model.onnx",
    "file:\u0661/model.onnx",
    "file:9223372036854775808/model.onnx",
    "file:../1/model.onnx",
    "file:1/..",
    "file:1/.",
    "file:1/../2/model.onnx",
    "file:1/../../../../srv/owned",
    "file:1//etc/passwd",
    "file:1/sub/model.onnx",
    "file:1/.hidden",
    "file:1/a\\b",
    "file:1/C:\\windows",
    "file:1/a\0b",
    "file:1/a\nb",
    "file:1/\x1b[2J",
    "file:1/" + "a" * 256,
    "file:1/" + "a" * MIB,
)


def _accelerated(device: str, provider: str, **parameters: str) -> str:
    accelerator = {"name": provider, "parameters": parameters}
    return json.dumps({"optimization": {"execution_accelerators": {f"{device}_execution_accelerator": [accelerator]}}})


# Configs for the model 'affine': (id, JSON, pattern).
BAD_CONFIGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("empty", "", r"^the given config of model 'affine' is no JSON: Expecting value: line 1 column 1"),
    ("no-json", "max_batch_size: 8", r" is no JSON: "),
    ("cut-off", '{"max_batch_size": 8', r" is no JSON: "),
    ("list", "[]", r": expected a JSON object, such as \{\}$"),
    ("null", "null", r": expected a JSON object, such as \{\}$"),
    ("deep", "[" * 200_000, r": a number in it is too long, or it is nested too deeply$"),
    ("deep-input", '{"input":[' * 50 + "]}" * 50, r"^the given config of model 'affine': "),
    ("number-for-a-list", '{"input": 5}', r"^the given config of model 'affine': Failed to parse "),
    ("twice", '{"name": "affine", "name": "affine"}', r"duplicate key name"),
    (
        "unknown-field",
        '{"max_batch": 8}',
        r"ModelConfig has no field 'max_batch'; it has name, platform, .*max_batch_size",
    ),
    (
        "unknown-inner-field",
        '{"instance_group": [{"cores": 8}]}',
        r"ModelInstanceGroup has no field 'cores'; it has name, kind, count",
    ),
    ("wrong-type", '{"max_batch_size": "eight"}', r"Failed to parse max_batch_size field"),
    ("too-large-a-number", '{"max_batch_size": 99999999999}', r"Value out of range"),
    ("a-million-digits", '{"max_batch_size": ' + "9" * 10**6 + "}", r": a number in it is too long"),
    ("unknown-enum", '{"input": [{"data_type": "TYPE_FP7"}]}', r"Invalid enum value TYPE_FP7"),
    ("2-mib", '{"name": "' + "a" * 2 * MIB + '"}', r"characters, expected at most 1,048,576$"),
    ("other-name", '{"name": "gate"}', r": name is 'gate', expected 'affine'"),
    ("other-platform", '{"platform": "tensorflow"}', r"only ONNX models are served here$"),
    ("negative", '{"max_batch_size": -1}', r": max_batch_size is -1, expected 0 or more$"),
    ("million-instances", '{"instance_group": [{"count": 1000000}]}', r"is 1,000,000, expected at most 1,024$"),
    ("priorities", '{"dynamic_batching": {"priority_levels": "9223372036854775807"}}', r"expected at most 1,024$"),
    (
        "contradiction",
        '{"input": [{"name": "x", "data_type": "TYPE_INT8", "dims": [4]}]}',
        r"the given config of model 'affine': input 'x'",
    ),
    (
        "no-such-version",
        '{"version_policy": {"specific": {"versions": [0]}}}',
        r"the given config of .*: expected numbers from 1, got 0$",
    ),
    (
        "library",
        '{"model_operations": {"op_library_filename": ["/tmp/evil.so"]}}',
        r"model_operations names a library, which only the operator of the server may choose",
    ),
    (
        "session-library",
        _accelerated("cpu", "openvino", cache_dir="/srv"),
        r"model 'affine'",
    ),
    (
        "profile",
        _accelerated("gpu", "tensorrt", trt_engine_cache_path="/srv"),
        r"model 'affine'",
    ),
    (
        "model-file-above",
        '{"default_model_filename": "../../gate/1/model.onnx"}',
        r"expected a file inside the version folder, without '\.\.'$",
    ),
    (
        "model-file-absolute",
        '{"default_model_filename": "/etc/passwd"}',
        r"default_model_filename is '/\.\.\./passwd', expected a file inside the version folder",
    ),
    (
        "label-file-above",
        '{"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [4], "label_filename": "../gate/config.pbtxt"}]}',
        r"label_filename is '\.\./gate/config\.pbtxt', which config\.pbtxt of model 'affine' does not name; ",
    ),
    (
        "label-file-absolute",
        '{"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [4], "label_filename": "/etc/passwd"}]}',
        r"label_filename is '/\.\.\./passwd', which config\.pbtxt of model 'affine' does not name; ",
    ),
    (
        "label-file-beside",
        '{"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [4], "label_filename": "config.pbtxt"}]}',
        r"label_filename is 'config\.pbtxt', which config\.pbtxt of model 'affine' does not name; ",
    ),
    (
        "warm-up-file-above",
        json.dumps(
            {
                "max_batch_size": 8,
                "model_warmup": [
                    {
                        "name": "w",
                        "batch_size": 1,
                        "inputs": {
                            "x": {"data_type": "TYPE_FP32", "dims": [4], "input_data_file": "../../gate/config.pbtxt"}
                        },
                    }
                ],
            }
        ),
        r"input_data_file is '\.\./\.\./gate/config\.pbtxt', which config\.pbtxt of model 'affine' does not name; ",
    ),
)


def load(name: str = "affine", *, config: str | None = None, **more: Any) -> RepositoryModelLoadRequest:
    """A load; ``files`` maps keys to contents."""
    files: dict[str, bytes] = more.pop("files", {})
    message = RepositoryModelLoadRequest(model_name=name, **more)
    if config is not None:
        message.parameters["config"].string_param = config
    for key, data in files.items():
        message.parameters[key].bytes_param = data
    return message


def control() -> list[BadRequest]:
    """Rows about the model repository."""
    return [*_names(), *_parameters(), *_configs(), *_files()]


def _names() -> list[BadRequest]:
    rows = []
    for verb, path, make in (("load", LOAD, load), ("unload", UNLOAD, _unload)):
        rows += [
            BadRequest(
                id=f"{verb}-name-{key}",
                make=lambda make=make, name=name: make(name),  # type: ignore[misc]  # defaults bind the loop
                code=NOT_FOUND,
                pattern=r": (no repository has it|its name is empty); RepositoryIndex tells which models there are$",
                path=path,
            )
            for key, name in {**ODD_NAMES, "empty": ""}.items()
        ]
    for path, message in (
        (INDEX, RepositoryIndexRequest),
        (LOAD, RepositoryModelLoadRequest),
        (UNLOAD, RepositoryModelUnloadRequest),
    ):
        rows += [
            BadRequest(
                id=f"{path[-7:]}-repository-{key}",
                make=lambda message=message, name=name: message(repository_name=name),  # type: ignore[misc]
                code=NOT_FOUND,
                pattern=r"^unknown repository '.*: expected one of 'repository\d+', or none for all$",
                path=path,
            )
            for key, name in ODD_NAMES.items()
        ]
    return rows


def _parameters() -> list[BadRequest]:
    rows = []
    for path, message in ((LOAD, load()), (UNLOAD, _unload("affine"))):
        for key in ("unheard_of", "", "Config", "config ", "files:1/model.onnx", "model.onnx", "k" * MIB):
            odd = type(message).FromString(message.SerializeToString())
            odd.parameters[key].string_param = "x"
            rows.append(
                BadRequest(
                    id=f"{path[-7:]}-parameter-{key[:20]}",
                    make=lambda odd=odd: odd,  # type: ignore[misc]
                    pattern=r"^parameter '.*: expected ('config' or 'file:<version>/<name>'|'unload_dependents')$",
                    path=path,
                    field=_field(key),
                )
            )
    for kind, value in (("string_param", "true"), ("int64_param", 1), ("bytes_param", b"1"), (None, None)):
        rows.append(
            BadRequest(
                id=f"unload-dependents-{kind}",
                make=lambda kind=kind, value=value: _dependents(kind, value),  # type: ignore[misc]
                pattern=r"^parameter 'unload_dependents': expected a boolean, got (a string|an integer|bytes|nothing)$",
                path=UNLOAD,
                field="parameters['unload_dependents']",
            )
        )
    return rows


def _configs() -> list[BadRequest]:
    rows = [
        BadRequest(
            id=f"load-config-{key}",
            make=lambda config=config: load(config=config),  # type: ignore[misc]
            pattern=pattern,
            path=LOAD,
            field="parameters",
        )
        for key, config, pattern in BAD_CONFIGS
    ]
    wrong = load()
    wrong.parameters["config"].bytes_param = b"{}"
    rows.append(
        BadRequest(
            id="load-config-bytes",
            make=lambda: wrong,
            pattern=r"^parameter 'config': expected a string, got bytes$",
            path=LOAD,
            field="parameters['config']",
        )
    )
    return rows


def _files() -> list[BadRequest]:
    rows = [
        BadRequest(
            id=f"load-file-{index}",
            make=lambda key=key: load(config="{}", files={key: b"x"}),  # type: ignore[misc]
            pattern=r"^parameter 'file:.*: expected 'file:<version>/<name>', such as 'file:1/model.onnx'",
            path=LOAD,
            field=_field(key),
        )
        for index, key in enumerate(BAD_KEYS)
    ]
    as_text = load(config="{}")
    as_text.parameters["file:1/model.onnx"].string_param = "x"
    good = "file:1/model.onnx"
    cases: tuple[tuple[str, RepositoryModelLoadRequest, str, str], ...] = (
        ("without-config", load(files={good: b"x"}), r"files came without a config; send 'config' too", "['config']"),
        ("text", as_text, r"^parameter 'file:1/model.onnx': expected bytes, got a string$", "['file:1/model.onnx']"),
        (
            "too-many",
            load(config="{}", files={f"file:{number}/model.onnx": b"" for number in range(1, 2_001)}),
            r"^parameters: expected at most 1,024 files and a config, got 2,001$",
            "",
        ),
        ("empty", load(config="{}", files={good: b""}), r"^version 1 of model 'affine'", ""),
        ("garbage", load(config="{}", files={good: b"\x08\x0a garbage"}), r"^version 1 of model 'affine'", ""),
        (
            "no-model",
            load(config="{}", files={"file:2/weights.bin": b"x"}),
            r"^version 2 of model 'affine': expected 'file:2/model\.onnx' among the given files$",
            "",
        ),
        (
            "model-elsewhere",
            load(config='{"default_model_filename": "a/model.onnx"}', files={good: b"x"}),
            r"expected 'file:1/a/model\.onnx' among the given files$",
            "",
        ),
    )
    rows += [
        BadRequest(
            id=f"load-files-{key}",
            make=lambda message=message: message,  # type: ignore[misc]
            pattern=pattern,
            path=LOAD,
            field=f"parameters{field}",
        )
        for key, message, pattern, field in cases
    ]
    rows += [
        BadRequest(
            id=f"load-files-name-{key}",
            make=lambda name=name: load(name, config="{}", files={good: b"x"}),  # type: ignore[misc]
            pattern=r"a model's name must not ",
            path=LOAD,
            field="model_name",
        )
        for key, name in {**ODD_NAMES, "empty": ""}.items()
        if key in {"1-mb", "nul", "newline", "dots", "path", "escapes", "empty"}
    ]
    return rows


def _unload(name: str) -> RepositoryModelUnloadRequest:
    return RepositoryModelUnloadRequest(model_name=name)


def _dependents(kind: str | None, value: Any) -> RepositoryModelUnloadRequest:
    message = _unload("affine")
    message.parameters["unload_dependents"].SetInParent()
    if kind:
        setattr(message.parameters["unload_dependents"], kind, value)
    return message


def _field(key: str) -> str:
    return f"parameters[{quoted(key)}]"
