"""Generated code against the whole server: it is the same from server and repository, runs, and sees changes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sardonyx_client import AsyncClient, Client, ModelChanged
from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exit_codes import ExitCode
from tests.client.generated_code import imported
from tests.e2e.models import identity_name, repository, write
from tests.e2e.servers import Server, eventually


def generate(out: Path, *arguments: str | Path) -> Path:
    """The package of one run."""
    assert run(["client", "generate", "--out", str(out), *map(str, arguments)]) == ExitCode.OK
    return out


def signatures(package: Any) -> dict[str, Any]:
    """Model -> SIGNATURE of its module."""
    modules = [module for name, module in vars(package).items() if hasattr(module, "SIGNATURE")]
    return {module.SIGNATURE.model: module.SIGNATURE for module in modules}


def test_a_server_and_its_repository_give_the_same_signatures(server: Server, models: Path, tmp_path: Path) -> None:
    """Of every model; each is accepted by the server."""
    with (
        imported(generate(tmp_path / "a", "--url", server.app.address)) as asked,
        imported(generate(tmp_path / "b", "--repository", models)) as read,
        Client(server.app.address) as client,
    ):
        ours, theirs = signatures(asked), signatures(read)
        assert set(ours) <= set(theirs)
        assert {"affine", "add_sub", "optional", identity_name("BYTES")} <= set(ours)
        for name, found in ours.items():
            info = client.metadata(name)
            found.check(info)
            theirs[name].check(info)
            assert [each.optional for each in found.inputs] == [each.optional for each in theirs[name].inputs]


def test_generated_classes_run_models(server: Server, tmp_path: Path) -> None:
    """Numbers, text, an optional input; sync and async alike."""
    with (
        imported(generate(tmp_path / "package", "--url", server.app.address)) as package,
        Client(server.app.address) as client,
    ):
        ones = np.ones((2, 4), np.int32)
        outputs = package.AddSub(client).infer(a=3 * ones, b=ones, request_id="r")
        np.testing.assert_array_equal(outputs.sum, 4 * ones)
        np.testing.assert_array_equal(outputs.difference, 2 * ones)
        assert outputs.result.request_id == "r"
        text = np.array([["Zürich", b"\xe6\x9d\xb1", ""]], object)
        assert package.IdentityBytes(client).infer(text).y.tolist() == [["Zürich".encode(), "東".encode(), b""]]
        optional = package.Optional(client)
        x = np.zeros(2, np.float32)
        assert not np.array_equal(optional.infer(x).y, optional.infer(x, bias=np.full(2, 9, np.float32)).y)
        requests = [package.AddSubInputs(a=number * ones, b=ones) for number in range(8)]
        assert [int(each.sum[0, 0]) for each in package.AddSub(client).infer_many(requests)] == list(range(1, 9))

        async def ask() -> Any:
            async with AsyncClient(server.app.address) as asynchronous:
                model = package.AsyncAddSub(asynchronous)
                many = [each async for each in model.infer_many(requests)]
                return await model.infer(a=3 * ones, b=ones), many

        twin, many = asyncio.run(ask())
        np.testing.assert_array_equal(twin.sum, outputs.sum)
        assert [int(each.sum[0, 0]) for each in many] == list(range(1, 9))


def test_a_model_without_a_declared_shape_takes_any(server: Server, models: Path, tmp_path: Path) -> None:
    """Metadata call it [], as they call a scalar."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    sources: tuple[tuple[str, str | Path], ...] = (("--url", server.app.address), ("--repository", models))
    for number, source in enumerate(sources):
        with (
            imported(generate(tmp_path / str(number), *source)) as package,
            Client(server.app.address) as client,
        ):
            np.testing.assert_array_equal(package.Undeclared(client).infer(x).y, x)
            assert package.Scalar(client).infer(np.array(2, np.float32)).y == 2


def test_sample_models_answer_as_scikit_learn_does(tmp_path: Path) -> None:
    """Code from the committed repository, for a server of it."""
    pytest.importorskip("sklearn", reason="compares with scikit-learn")
    pytest.importorskip("skl2onnx", reason="models/build.py converts with it")
    from tests.models.expected import NAMES, REPOSITORY, assert_answers, built

    with (
        Server(REPOSITORY, "lane") as server,
        imported(generate(tmp_path / "package", "--repository", REPOSITORY)) as package,
        Client(server.app.address) as client,
    ):
        for name, signature in signatures(package).items():
            assert name in NAMES
            rows = built(name).rows
            model = getattr(package, "".join(map(str.capitalize, name.split("_"))))(client)
            outputs = model.infer(*(rows[spec.name] for spec in signature.inputs))
            assert_answers(name, {spec.name: getattr(outputs, spec.name) for spec in signature.outputs})


def test_a_model_that_changes_under_a_running_program_is_refused(tmp_path: Path) -> None:
    """The program is told what changed, on the first call that the new model refuses."""
    folders = {each.name: each for each in repository()}
    place = write([folders["add_sub"]], tmp_path / "models")
    other = write([folders["affine"]], tmp_path / "other")
    with (
        Server(place, "lane", model_control_mode="poll", repository_poll_secs=0.1) as server,
        imported(generate(tmp_path / "package", "--url", server.app.address)) as package,
        Client(server.app.address) as client,
    ):
        ones = np.ones((2, 4), np.int32)
        model = package.AddSub(client)
        model.infer(ones, ones)
        shutil.copytree(other / "affine" / "3", place / "add_sub" / "2")
        eventually(lambda: client.metadata("add_sub").inputs[0].name == "x", "the new version is served")
        with pytest.raises(ModelChanged) as raised:
            model.infer(ones, ones)
    assert str(raised.value) == (
        "model 'add_sub' has changed since this code was generated: input 'a' is gone; input 'b' is gone; "
        "input 'x' is new: FP32 [-1,4]; output 'sum' is gone; output 'difference' is gone; "
        "output 'y' is new: FP32 [-1,4]; generate the code again with 'sardonyx client generate'"
    )
