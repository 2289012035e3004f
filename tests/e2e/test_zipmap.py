"""Classifiers as converters write them by default end in ZipMap, and are served as they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sardonyx_client import Client
from sardonyx_server.engine.models.states import State
from sardonyx_wire.messages import ModelMetadataRequest, RepositoryModelUnloadRequest
from tests.e2e.bad_control import load as load_request
from tests.e2e.converted_models import FLOWERS, Converted, converted
from tests.e2e.messages import arrays_of, infer_request
from tests.e2e.models import Folder, write
from tests.e2e.servers import ALLOW_ALL, Server
from tests.server.repository.zipmap_models import maps, zipmap, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURED = """
max_batch_size: 16
output { name: "output_probability" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" }
"""
NOTE = (
    "output 'output_probability' is a sequence of maps in the file (ZipMap); it is served as the tensor that they are "
    "made of"
)


@pytest.fixture(scope="module")
def models() -> dict[str, Converted]:
    """Name -> classifier."""
    return {each.name: each for each in converted()}


@pytest.fixture(scope="module")
def server(models: dict[str, Converted], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of them, in both forms, and one with a config."""
    folders = [
        *(Folder(name=each.name, data=each.by_default) for each in models.values()),
        *(Folder(name=f"{each.name}_plain", data=each.plain) for each in models.values()),
        Folder(name="keyless", data=zipped([zipmap("p", "y", None)], [maps("y")]).SerializeToString()),
        Folder(name="configured", data=models["logistic"].by_default, config=CONFIGURED, labels=("one", "two")),
    ]
    with Server(write(folders, tmp_path_factory.mktemp("converted")), "lane", **ALLOW_ALL) as running:
        yield running


@pytest.mark.parametrize("name", ["logistic", "binary", "forest", "binary_forest", "calibrated", "pipeline"])
def test_answers_are_those_of_the_export_without_maps(server: Server, models: dict[str, Converted], name: str) -> None:
    """Bit for bit, under the names of the export: an array [rows, classes]."""
    model = models[name]
    with Client(server.app.address) as client:
        answer = client.infer(name, **model.feeds)
        plain = client.infer(f"{name}_plain", **model.feeds)
    rows = len(next(iter(model.feeds.values())))
    assert answer["output_probability"].dtype == np.float32
    assert answer["output_probability"].shape == (rows, len(model.labels))
    assert answer["output_probability"].tobytes() == plain["probabilities"].tobytes()
    assert answer["output_label"].tolist() == plain["label"].tolist()
    metadata = server.call("ModelMetadata", ModelMetadataRequest(name=name))
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.outputs][1] == (
        "output_probability",
        "FP32",
        [-1, len(model.labels)],
    )


@pytest.mark.parametrize("name", ["logistic", "forest", "pipeline"])
def test_such_models_are_batched(server: Server, name: str) -> None:
    """The verdict is that of the export without maps."""
    info, plain = server.model(name).info, server.model(f"{name}_plain").info
    assert info.verdict.batchable
    assert plain.verdict.batchable
    assert info.config.max_batch_size > 1


def _classes(server: Server, model: Converted, name: str) -> list[list[str]]:
    request = infer_request(name, outputs=["output_probability"], **model.feeds)
    request.outputs[0].parameters["classification"].int64_param = 1
    answer = arrays_of(server.infer(request))["output_probability"]
    return [text.decode().split(":")[1:] for (text,) in answer.tolist()]


@pytest.mark.parametrize("name", ["logistic", "binary", "forest", "binary_forest", "calibrated", "pipeline"])
def test_classes_have_the_labels_of_the_maps(server: Server, models: dict[str, Converted], name: str) -> None:
    """Of the best class that is what the model gives as its label."""
    model = models[name]
    said = arrays_of(server.infer(infer_request(name, **model.feeds)))["output_label"].ravel().tolist()
    best = [each.decode() if isinstance(each, bytes) else str(each) for each in said]
    assert _classes(server, model, name) == [[str(model.labels.index(label)), label] for label in best]
    assert set(best) == set(model.labels)


def test_maps_without_keys_are_served_as_their_scores(server: Server) -> None:
    """Of any shape, for the keys alone say how many columns: so rows join no others, and classes have no labels."""
    rows = np.array([[0.5, -0.0, np.inf], [1e-42, 3.0, -7.25], [1.0, 2.0, 3.0]], np.float32)
    with Client(server.app.address) as client:
        assert client.infer("keyless", x=rows)["y"].tobytes() == (2 * rows).tobytes()
        (output,) = client.metadata("keyless").outputs
        assert (output.name, output.datatype) == ("y", "FP32")
    request = infer_request("keyless", x=rows[2:])
    request.outputs.add(name="y").parameters["classification"].int64_param = 1
    assert arrays_of(server.infer(request))["y"].tolist() == [b"6.000000:2"]
    assert not server.model("keyless").info.verdict.batchable


def test_a_label_file_comes_first(server: Server, models: dict[str, Converted]) -> None:
    """Also where it has no line for a class; dims of the config are without the batch axis, as ever."""
    found = {tuple(each) for each in _classes(server, models["logistic"], "configured")}
    assert found == {("0", "one"), ("1", "two"), ("2",)}
    assert server.model("configured").config.max_batch_size == 16


def test_the_operator_is_told_once(
    server: Server, models: dict[str, Converted], caplog: pytest.LogCaptureFixture
) -> None:
    """At the load. The same file is known again, although it was changed on its way to onnxruntime."""
    server.call("RepositoryModelUnload", RepositoryModelUnloadRequest(model_name="forest"))
    with caplog.at_level(logging.INFO, "sardonyx"):
        server.call("RepositoryModelLoad", load_request("forest"))
        for _ in range(2):
            server.infer(infer_request("forest", **models["forest"].feeds))
    assert [vars(record)["note"] for record in caplog.records if record.message == "model graph"] == [NOTE]
    assert server.model("forest").info.remembered


def test_a_file_that_comes_with_a_load_may_end_in_zipmap(server: Server, models: dict[str, Converted]) -> None:
    """With a config that names the output as a tensor."""
    config = '{"max_batch_size": 4, "output": [{"name": "output_probability", "data_type": "TYPE_FP32", "dims": [3]}]}'
    files = {"file:1/model.onnx": models["forest"].by_default}
    server.call("RepositoryModelLoad", load_request("given", config=config, files=files))
    (status,) = server.app.registry.entries()["given"].versions.values()
    assert status.state is State.READY
    model = models["forest"]
    want = arrays_of(server.infer(infer_request("forest", **model.feeds)))
    got = arrays_of(server.infer(infer_request("given", **model.feeds)))
    assert got["output_probability"].tobytes() == want["output_probability"].tobytes()
    assert {label for _, label in _classes(server, model, "given")} == set(FLOWERS)
    server.call("RepositoryModelUnload", RepositoryModelUnloadRequest(model_name="given"))
