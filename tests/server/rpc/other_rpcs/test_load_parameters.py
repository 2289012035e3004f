"""What may come with a load and an unload. Wrong ones are rows of tests/e2e/bad_control.py; here is what is right."""

from __future__ import annotations

import pytest

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.rpc.other_rpcs.load_parameters import check_unload_parameters, read_load_parameters
from sardonyx_wire.messages import RepositoryModelLoadRequest, RepositoryModelUnloadRequest


def parameters(config: str | None = None, **files: bytes) -> RepositoryModelLoadRequest:
    """A request with these parameters; the names of files are ``v<version>_<name>``."""
    message = RepositoryModelLoadRequest()
    if config is not None:
        message.parameters["config"].string_param = config
    for key, data in files.items():
        version, _, name = key[1:].partition("_")
        message.parameters[f"file:{version}/{name}"].bytes_param = data
    return message


def test_nothing_is_fine() -> None:
    """The model as it lies on disk."""
    found = read_load_parameters(parameters().parameters)
    assert (found.config, found.files) == (None, {})


def test_a_config_and_files_are_read() -> None:
    """By version and name."""
    found = read_load_parameters(parameters("{}", v1_model=b"one", v9223372036854775807_weights=b"").parameters)
    assert found.config == "{}"
    assert found.files == {(1, "model"): b"one", (9223372036854775807, "weights"): b""}


def test_an_empty_config_is_a_config() -> None:
    """It is refused as JSON later, and not taken for none."""
    assert read_load_parameters(parameters("").parameters).config == ""


@pytest.mark.parametrize("name", ["model.onnx", "w 1.bin", "a", "0", "A_b-c+d=e@f.data", "a" * 255])
def test_plain_names_are_names_of_files(name: str) -> None:
    """Exporters write such ones."""
    message = parameters("{}")
    message.parameters[f"file:1/{name}"].bytes_param = b"x"
    assert read_load_parameters(message.parameters).files == {(1, name): b"x"}


def test_1024_files_are_as_many_as_may_come() -> None:
    """And a config beside them."""
    files = {f"v{version}_model": b"" for version in range(1, 1_025)}
    assert len(read_load_parameters(parameters("{}", **files).parameters).files) == 1_024
    with pytest.raises(InvalidRequest, match=r"^parameters: expected at most 1,024 files and a config, got 1,026$"):
        read_load_parameters(parameters("{}", **files, v1_other=b"").parameters)


@pytest.mark.parametrize("value", [True, False])
def test_dependents_may_be_named_in_an_unload(value: bool) -> None:
    """There are none; tritonclient sends it always."""
    message = RepositoryModelUnloadRequest()
    check_unload_parameters(message.parameters)
    message.parameters["unload_dependents"].bool_param = value
    check_unload_parameters(message.parameters)
