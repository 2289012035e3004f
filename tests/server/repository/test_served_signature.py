"""The signature of a model on disk, without running it: what the server will say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.served_signature import served_signature
from sardonyx_server.repository.spec import ModelSpec
from tests.e2e.models import repository, write
from tests.server.repository.onnx_models import put_model
from tests.server.repository.zipmap_models import maps, zipmap, zipped


def spec_of(name: str, path: Path, config: str | None = None) -> ModelSpec:
    """A model of the end-to-end tests, with another config where one is given."""
    write([each for each in repository() if each.name == name], path)
    if config is not None:
        (path / name / "config.pbtxt").write_text(config)
    found = scan([path])[name]
    assert isinstance(found, ModelSpec)
    return found


def test_names_of_axes_and_labels_are_told(tmp_path: Path) -> None:
    """Labels are those of the file that the config names."""
    (tmp_path / "add_sub").mkdir()
    (tmp_path / "add_sub" / "labels.txt").write_text("low\nhigh\n")
    spec = spec_of("add_sub", tmp_path, 'output { name: "sum" label_filename: "labels.txt" }')
    inputs, outputs = served_signature(spec, 1)
    assert [each.name for each in inputs] == ["a", "b"]
    assert [(each.name, each.labels) for each in outputs] == [("sum", ("low", "high")), ("difference", ())]


def test_dims_of_the_config_are_those_that_callers_see(tmp_path: Path) -> None:
    """What it narrows, and what it has reshaped."""
    narrowed = 'input { name: "x" dims: [ 8, 4 ] } output { name: "y" dims: [ 8, 2, 2 ] reshape { shape: [ 8, 4 ] } }'
    spec = spec_of("affine", tmp_path, narrowed)
    inputs, outputs = served_signature(spec, max(spec.versions))
    assert [each.shape for each in (*inputs, *outputs)] == [(8, 4), (8, 2, 2)]


def test_inputs_with_a_default_are_there_if_the_config_names_them(tmp_path: Path) -> None:
    """As the server shows them."""
    inputs, _ = served_signature(spec_of("optional", tmp_path / "named"), 1)
    assert [(each.name, each.optional) for each in inputs] == [("x", False), ("bias", True)]
    inputs, _ = served_signature(spec_of("optional", tmp_path / "silent", ""), 1)
    assert [each.name for each in inputs] == ["x"]


def test_a_config_that_contradicts_the_graph_is_refused(tmp_path: Path) -> None:
    """The server would not load it."""
    spec = spec_of("add_sub", tmp_path, 'input { name: "c" }')
    with pytest.raises(LoadFailed, match="input 'c' is not in the graph"):
        served_signature(spec, 1)


def test_the_keys_of_a_zipmap_are_labels(tmp_path: Path) -> None:
    """Unless a label file names the classes."""
    put_model(tmp_path, "m", data=zipped([zipmap("p", "y", ["a", "b", "c"])], [maps("y", 8)]).SerializeToString())
    spec = scan([tmp_path])["m"]
    assert isinstance(spec, ModelSpec)
    assert [each.labels for each in served_signature(spec, 1)[1]] == [("a", "b", "c")]
    (tmp_path / "m" / "labels.txt").write_text("one\ntwo\n")
    (tmp_path / "m" / "config.pbtxt").write_text('output { name: "y" dims: [ -1, 3 ] label_filename: "labels.txt" }')
    spec = scan([tmp_path])["m"]
    assert isinstance(spec, ModelSpec)
    assert [each.labels for each in served_signature(spec, 1)[1]] == [("one", "two")]
