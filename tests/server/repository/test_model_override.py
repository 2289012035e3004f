"""A config and files that come with a load: what is taken of them, and that nothing is left of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.files import take_private_copy
from sardonyx_server.repository.model_override import is_plain_file_name, parse_config_override, uploaded_model
from sardonyx_server.repository.spec import ConfigOverride
from tests.server.repository.onnx_models import external, linear

EMPTY = parse_config_override("{}", "m")


def refusal(name: str, config: ConfigOverride, files: dict[tuple[int, str], bytes], private: Path) -> str:
    """Why files are no model; nothing of them is left."""
    with pytest.raises(LoadFailed) as caught, uploaded_model(name, config, files, private_parent=private):
        raise AssertionError("it should not come to this")
    assert not private.exists() or not list(private.iterdir())
    return caught.value.message


def test_a_config_is_read_in_either_spelling() -> None:
    """Protobuf's JSON: names of fields as in the contract or in camel case, numbers as numbers or as text."""
    for text in (
        '{"max_batch_size": 4, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4"]}]}',
        '{"maxBatchSize": 4, "input": [{"name": "x", "dataType": 11, "dims": [4]}]}',
    ):
        config = parse_config_override(text, "m").message
        assert (config.name, config.max_batch_size) == ("m", 4)
        assert (config.input[0].data_type, list(config.input[0].dims)) == (11, [4])


@pytest.mark.parametrize(
    ("config", "declines"),
    [
        ({}, False),
        ({"max_batch_size": 0}, True),
        ({"maxBatchSize": 0}, True),
        ({"max_batch_size": 4}, False),
        ({"parameters": {"max_batch_size": {"string_value": "0"}}}, False),
    ],
)
def test_a_stated_zero_is_told_from_silence(config: dict[str, Any], declines: bool) -> None:
    """As in config.pbtxt."""
    assert parse_config_override(json.dumps(config), "m").declines_batching is declines


def test_the_model_is_called_as_the_config_says(tmp_path: Path) -> None:
    """Whatever its name ends in: the file is the caller's, and so is the config that names it."""
    config = parse_config_override('{"default_model_filename": "net.bin"}', "m")
    with uploaded_model("m", config, {(1, "net.bin"): linear()}, private_parent=tmp_path) as spec:
        assert (spec.versions, spec.files[1].name) == ((1,), "net.bin")


def test_fingerprints_differ_where_the_text_does() -> None:
    """The same config again is the same."""
    assert parse_config_override("{}", "m").fingerprint == EMPTY.fingerprint
    assert parse_config_override('{"max_batch_size": 4}', "m").fingerprint != EMPTY.fingerprint


@drawn(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_text_is_a_config_or_refused(text: str) -> None:
    """In one line that names the model and shows nothing of the program."""
    message = "the given config of model 'm'"
    try:
        parse_config_override(text, "m")
    except LoadFailed as error:
        message = error.message
    assert message.startswith("the given config of model 'm'")
    assert "Error" not in message.replace(text, "")
    assert "\n" not in message


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "/a", "a\0", "a\n", "~root", "$HOME", "ä", "-rf", "a" * 256]
)
def test_names_that_are_none_of_a_file(name: str) -> None:
    """Whatever a file system makes of them."""
    assert not is_plain_file_name(name)


def test_files_make_a_model_that_is_read_like_any_other(tmp_path: Path) -> None:
    """Several versions, one with its weights beside it. Then all is gone, but what was taken of it."""
    weights = bytes(range(48))
    files = {
        (1, "model.onnx"): linear(weight=external("w.bin")),
        (1, "w.bin"): weights,
        (12, "model.onnx"): linear(),
    }
    config = parse_config_override('{"version_policy": {"all": {}}, "max_batch_size": 4}', "m")
    with uploaded_model("m", config, files, private_parent=tmp_path) as spec:
        (private,) = tmp_path.iterdir()
        assert private.stat().st_mode & 0o777 == 0o700
        assert (spec.name, spec.versions) == ("m", (1, 12))
        assert spec.config.max_batch_size == 4
        taken = {version: take_private_copy(spec, version) for version in spec.versions}
    assert not list(tmp_path.iterdir())
    assert taken[12].model_bytes == linear()
    assert taken[1].path is not None
    assert (taken[1].path.parent / "w.bin").read_bytes() == weights
    for each in taken.values():
        each.close()


def test_other_files_come_to_another_fingerprint(tmp_path: Path) -> None:
    """So that they are loaded."""
    seen = []
    for columns in (3, 3, 5):
        files = {(1, "model.onnx"): linear(columns=columns)}
        with uploaded_model("m", EMPTY, files, private_parent=tmp_path) as spec:
            seen.append(spec.version_fingerprints[1])
    assert len(set(seen)) == 3


def test_files_that_make_no_model_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """With the key that is expected."""
    nowhere = tmp_path / "nowhere"
    model = linear()
    for files, message in (
        ({(3, "w.bin"): b"x"}, "version 3 of model 'm': expected 'file:3/model.onnx' among the given files"),
        (
            {(1, "model.onnx"): model, (1, "w.bin"): b"x"},
            "version 1 of model 'm': file 'w.bin' is not asked for; external data of the model: none",
        ),
        (
            {(1, "model.onnx"): linear(weight=external("w.bin")), (1, "v.bin"): b"x"},
            "version 1 of model 'm': file 'v.bin' is not asked for; external data of the model: 'w.bin'",
        ),
        ({(1, "model.onnx"): b"text"}, "version 1 of model 'm' is no ONNX model, or cut off (4 bytes)"),
    ):
        assert refusal("m", EMPTY, files, nowhere) == message
    other = parse_config_override('{"default_model_filename": "net.onnx"}', "m")
    assert refusal("m", other, {(1, "model.onnx"): model}, nowhere) == (
        "version 1 of model 'm': expected 'file:1/net.onnx' among the given files"
    )


def test_labels_are_no_files_of_a_version(tmp_path: Path) -> None:
    """They cannot come along; a config that names some is refused."""
    config = parse_config_override('{"output": [{"name": "y", "label_filename": "labels.txt"}]}', "m")
    message = refusal("m", config, {(1, "model.onnx"): linear()}, tmp_path)
    assert message == "model 'm': label file 'labels.txt' is not there"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Without its path."""
    message = refusal("m", EMPTY, {(1, "model.onnx"): linear()}, tmp_path / "nowhere")
    assert message == "the given files of model 'm': a file is not there"


def test_the_folder_is_removed_where_loading_fails(tmp_path: Path) -> None:
    """However it fails."""
    files = {(1, "model.onnx"): linear()}
    with pytest.raises(ZeroDivisionError), uploaded_model("m", EMPTY, files, private_parent=tmp_path):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
