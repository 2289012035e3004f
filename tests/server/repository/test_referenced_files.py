"""Files that a config from a caller may name: what config.pbtxt names, and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import unused_fields
from sardonyx_server.repository.model_folder import read_model_folder
from sardonyx_server.repository.model_override import parse_config_override
from sardonyx_wire.messages import ModelConfig
from tests.server.repository.onnx_models import linear, put_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPERATORS = """
output { name: "y" label_filename: "labels.txt" }
default_model_filename: "net/best.bin"
model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "row" } } }
"""

TEXTS = {
    "name": "must be the model's",
    "platform": "must be onnxruntime_onnx",
    "backend": "must be onnxruntime",
    "input.name": "must be in the graph",
    "output.name": "must be in the graph",
    "output.label_filename": "a file",
    "optimization.execution_accelerators.gpu_execution_accelerator.name": "provider_selection.py",
    "optimization.execution_accelerators.gpu_execution_accelerator.parameters": "provider_options.py",
    "optimization.execution_accelerators.cpu_execution_accelerator.name": "provider_selection.py",
    "optimization.execution_accelerators.cpu_execution_accelerator.parameters": "provider_options.py",
    "instance_group.name": "shown only",
    "default_model_filename": "a file",
    "parameters.string_value": "tuning.py, provider_options.py",
    "model_warmup.name": "shown only",
    "model_warmup.inputs.input_data_file": "a file",
}
"""Every text in a ModelConfig that has an effect, and what holds it within bounds."""


def warmup(name: str) -> dict[str, Any]:
    """A config with one warm-up file."""
    data = {"data_type": "TYPE_FP32", "dims": [4], "input_data_file": name}
    return {"model_warmup": [{"name": "w", "inputs": {"x": data}}]}


def labels(name: str) -> dict[str, Any]:
    """A config with one label file."""
    return {"output": [{"name": "y", "label_filename": name}]}


def put(repository: Path, config: str = "") -> Path:
    """A model, with files beside it that are nobody's business."""
    put_model(repository, "m", data=linear(), config=config)
    folder = repository / "m"
    for name in ("labels.txt", "secret.txt", "1/secret.txt", "1/net/best.bin", "warmup/row", "warmup/secret.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"secret\n")
    (folder / "1/other.onnx").write_bytes(linear(columns=5))
    return folder


@pytest.mark.parametrize(
    ("config", "field", "name"),
    [
        (labels("secret.txt"), "label_filename", "secret.txt"),
        (labels("config.pbtxt"), "label_filename", "config.pbtxt"),
        (labels("1/secret.txt"), "label_filename", "1/secret.txt"),
        (labels("./labels.txt"), "label_filename", "./labels.txt"),
        (labels("row"), "label_filename", "row"),
        (warmup("secret.txt"), "input_data_file", "secret.txt"),
        (warmup("labels.txt"), "input_data_file", "labels.txt"),
        ({"default_model_filename": "secret.txt"}, "default_model_filename", "secret.txt"),
        ({"default_model_filename": "net/other.onnx"}, "default_model_filename", "net/other.onnx"),
    ],
)
@pytest.mark.parametrize("on_disk", ["", OPERATORS], ids=["no config", "a config"])
def test_a_file_that_config_pbtxt_does_not_name_is_refused(
    tmp_path: Path, on_disk: str, config: dict[str, Any], field: str, name: str
) -> None:
    """In the same words whether it is there or not, and what is in it."""
    folder = put(tmp_path, on_disk)
    reasons = []
    for _ in range(2):
        with pytest.raises(LoadFailed) as caught:
            read_model_folder(folder, parse_config_override(json.dumps(config), "m"))
        reasons.append(caught.value.message)
        for each in (folder / name, folder / "1" / name, folder / "warmup" / name):
            each.unlink(missing_ok=True)
        (folder / "config.pbtxt").write_text(on_disk, encoding="utf-8")
    message = (
        f"the given config of model 'm': {field} is '{name}', which config.pbtxt of model 'm' does not name; "
        "only the server's operator may name further files, there"
    )
    assert set(reasons) == {message}


def test_a_config_as_the_server_gives_it_comes_back(tmp_path: Path) -> None:
    """Clients fetch it, change a number and load it: the operator's files are still named."""
    folder = put(tmp_path, OPERATORS)
    config = {**labels("labels.txt"), **warmup("row"), "default_model_filename": "net/best.bin", "max_batch_size": 2}
    spec = read_model_folder(folder, parse_config_override(json.dumps(config), "m"))
    assert spec.labels == {"y": ("secret",)}
    assert spec.files[1] == folder / "1/net/best.bin"


def test_another_model_of_the_version_folder_may_be_named(tmp_path: Path) -> None:
    """It can be nothing but a model."""
    folder = put(tmp_path)
    spec = read_model_folder(folder, parse_config_override('{"default_model_filename": "other.onnx"}', "m"))
    assert spec.files[1] == folder / "1/other.onnx"


def test_a_broken_config_pbtxt_names_no_file(tmp_path: Path) -> None:
    """A config without files still takes its place."""
    folder = put(tmp_path, "no config")
    assert read_model_folder(folder, parse_config_override("{}", "m")).versions == (1,)
    with pytest.raises(LoadFailed, match=r"^config\.pbtxt of model 'm', line 1"):
        read_model_folder(folder, parse_config_override(json.dumps(labels("labels.txt")), "m"))


def test_every_text_of_a_config_that_has_an_effect_is_known() -> None:
    """Whoever gives another field an effect says here what a caller can do with it."""
    effective = (".".join(path) for path in _texts(ModelConfig.DESCRIPTOR, ()) if not unused_fields(_with(path)))
    assert set(effective) == set(TEXTS)


def _texts(descriptor: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The path of each text of a message; the values of a map stand for the map."""
    for field in descriptor.fields:
        path = (*above, field.name)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        value = field.message_type.fields_by_name["value"] if is_map else field
        if value.message_type is not None:
            yield from _texts(value.message_type, path)
        elif value.type == value.TYPE_STRING:
            yield path


def _with(path: tuple[str, ...]) -> ModelConfig:
    """A config that sets one text."""
    config = ModelConfig()
    place: Any = config
    for name in path[:-1]:
        below = getattr(place, name)
        # A list is added to, of a map an entry is made, and what is neither is there.
        place = below.add() if hasattr(below, "add") else below["k"] if hasattr(below, "keys") else below
    value = getattr(place, path[-1])
    if hasattr(value, "append"):
        value.append("text")
    elif hasattr(value, "keys"):
        value["k"] = "text"
    else:
        place.MergeFrom(type(place)(**{path[-1]: "text"}))
    return config
