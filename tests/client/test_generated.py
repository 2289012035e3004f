"""Generated classes at work: what they send, what they give back, and which servers they refuse."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_client import AsyncClient, BadResponse, Client, InvalidArgument, ModelChanged, ModelInfo
from sardonyx_client._generated import AsyncGeneratedModel, GeneratedModel
from sardonyx_client._signature import signature_hash
from sardonyx_client.generated import ModelSignature, TensorSpec
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse, ModelMetadataResponse
from tests.client.generated_code import imported, write
from tests.client.servers import TinyServer, echo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ADVICE = "generate the code again with 'sardonyx client generate'"
CHANGED = "model 'm' has changed since this code was generated: "
X = TensorSpec(name="x:0", datatype="FP32", shape=(-1, 2))
TEXT = TensorSpec(name="text", datatype="BYTES", shape=(-1,), optional=True)
SIGNATURE = ModelSignature(model="m", inputs=(X, TEXT), outputs=(X,))


class Served:
    """A server whose model gives its inputs back, and may be replaced."""

    def __init__(self) -> None:
        self.inputs: Sequence[TensorSpec] = SIGNATURE.inputs
        self.outputs: Sequence[TensorSpec] = SIGNATURE.outputs
        self.requests: list[ModelInferRequest] = []
        self.asked = 0
        self.picky = False

    def metadata(self, _request: object, _context: object) -> ModelMetadataResponse:
        """Its signature now."""
        self.asked += 1
        response = ModelMetadataResponse(name="m", versions=["1"])
        for specs, target in ((self.inputs, response.inputs), (self.outputs, response.outputs)):
            for spec in specs:
                target.add(name=spec.name, datatype=spec.datatype, shape=spec.shape or ())
        return response

    def infer(self, request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
        """Refuses what it does not know."""
        self.requests.append(request)
        known = {spec.name: spec.datatype for spec in self.inputs}
        if self.picky or any(known.get(tensor.name) != tensor.datatype for tensor in request.inputs):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the server does not want it")
        return echo(request, context)


@pytest.fixture
def served() -> Served:
    """The model as it was when code was generated."""
    return Served()


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    """Where it is served."""
    with TinyServer(ModelInfer=served.infer, ModelMetadata=served.metadata) as server:
        yield server.address


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Any]:
    """Code for it."""
    with imported(write(tmp_path / "package", SIGNATURE)) as found:
        yield found


@pytest.fixture(params=["sync", "async"])
def model(request: pytest.FixtureRequest, package: Any, address: str) -> Iterator[Any]:
    """The generated class over either client, called alike."""
    if request.param == "sync":
        with Client(address) as client:
            yield package.M(client)
        return
    with asyncio.Runner() as runner:
        asynchronous = runner.run(_made(address))
        yield _Blocking(package.AsyncM(asynchronous), runner)
        runner.run(asynchronous.close())


async def _made(address: str) -> AsyncClient:
    return AsyncClient(address)


class _Blocking:
    def __init__(self, model: Any, runner: asyncio.Runner) -> None:
        self._model = model
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._model, name)

        def call(*arguments: Any, **options: Any) -> Any:
            async def wait() -> Any:
                found = member(*arguments, **options)
                return [each async for each in found] if inspect.isasyncgen(found) else await found

            return self._runner.run(wait())

        return call


def test_twins_have_the_same_methods_with_the_same_arguments(package: Any) -> None:
    """Those that are generated, and those that they stand on."""
    for sync, twin in ((package.M, package.AsyncM), (GeneratedModel, AsyncGeneratedModel)):
        for name in ("check", "infer", "infer_many"):
            ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (sync, twin))
            assert ours == theirs, name


ROWS = np.array([[1, 2]], np.float32)


def test_arguments_go_out_under_the_names_of_the_model(model: Any, served: Served) -> None:
    """And come back as fields; the signature is asked for once."""
    outputs = model.infer(ROWS, timeout_s=5.0, request_id="r", parameters={"priority": 1})
    np.testing.assert_array_equal(outputs.x_0, ROWS)
    assert (outputs.result.request_id, outputs.result.model_version) == ("r", "1")
    model.infer(x_0=ROWS, text=np.array(["a"], object))
    first, second = served.requests
    assert [tensor.name for tensor in first.inputs] == ["x:0"]
    assert first.parameters["priority"].int64_param == 1
    assert [tensor.name for tensor in second.inputs] == ["x:0", "text"]
    assert served.asked == 1


def test_many_requests_come_back_in_order(model: Any, package: Any) -> None:
    """From the dataclass of inputs."""
    requests = [package.MInputs(x_0=np.full((1, 2), number, np.float32)) for number in range(5)]
    assert [int(each.x_0[0, 0]) for each in model.infer_many(requests, window=2)] == [0, 1, 2, 3, 4]


def test_what_does_not_fit_is_not_sent(model: Any, served: Served) -> None:
    """Type checkers can be ignored."""
    with pytest.raises(InvalidArgument, match=r"^input 'x:0' of model 'm': expected FP32 \[-1,2\], got FP64 \[1,2\]$"):
        model.infer(ROWS.astype(np.float64))
    with pytest.raises(InvalidArgument, match=r"^input 'x:0' of model 'm' is missing: expected FP32 \[-1,2\]$"):
        model.infer(None)
    assert served.requests == []


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    """A tensor of a server."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("inputs", "outputs", "changes"),
    [
        ([X], [X], "input 'text' is gone"),
        ([X, TEXT, spec("mask", "BOOL", -1)], [X], "input 'mask' is new: BOOL [-1]"),
        ([spec("x:0", "FP64", -1, 2), TEXT], [X], "input 'x:0' was FP32 [-1,2], is FP64 [-1,2]"),
        ([spec("x:0", "FP32", -1, 3), TEXT], [X], "input 'x:0' was FP32 [-1,2], is FP32 [-1,3]"),
        ([X, TEXT], [spec("x:0", "FP32", -1)], "output 'x:0' was FP32 [-1,2], is FP32 [-1]"),
        (
            [spec("x", "FP32", -1, 2), TEXT],
            [spec("y", "FP32", -1, 2)],
            "input 'x:0' is gone; input 'x' is new: FP32 [-1,2]; output 'x:0' is gone; output 'y' is new: FP32 [-1,2]",
        ),
    ],
)
def test_a_model_that_has_changed_is_refused(
    model: Any, served: Served, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], changes: str
) -> None:
    """Before anything is sent, with all that has changed."""
    served.inputs, served.outputs = inputs, outputs
    for call in (model.check, lambda: model.infer(ROWS), lambda: list(model.infer_many([]))):
        with pytest.raises(ModelChanged) as raised:
            call()
        assert str(raised.value) == f"{CHANGED}{changes}; {ADVICE}"
    assert served.requests == []


def test_the_order_of_tensors_is_no_change(model: Any, served: Served) -> None:
    """They go by name."""
    served.inputs = (TEXT, X)
    model.check()
    assert signature_hash("m", (TEXT, X), (X,)) == signature_hash("m", (X, TEXT), (X,))


def test_a_model_that_is_replaced_while_it_is_in_use_is_refused(model: Any, served: Served) -> None:
    """A refusal of the server makes the code look again; its own refusals stay what they are."""
    model.infer(ROWS)
    served.inputs = (spec("x", "FP32", -1, 2), TEXT)
    with pytest.raises(ModelChanged, match=r"input 'x:0' is gone; input 'x' is new"):
        model.infer(ROWS)
    served.inputs = SIGNATURE.inputs
    model.infer(ROWS)


def test_a_refusal_that_has_another_cause_is_told_as_it_is(model: Any, served: Served) -> None:
    """The signature is the same; the server just does not want the value."""
    model.infer(ROWS)
    served.picky = True
    with pytest.raises(InvalidArgument, match=r"^the server does not want it$"):
        model.infer(ROWS)
    assert served.asked == 2


def test_answers_are_held_against_the_signature(tmp_path: Path) -> None:
    """By name and datatype. Not by shape: exporters get those of outputs wrong, and nothing minds."""
    signature = ModelSignature(model="m", inputs=(X,), outputs=(spec("y", "FP32", 1),))
    answers: list[dict[str, Any]] = [
        {"y": np.zeros(1, np.float64)},
        {"z": np.zeros(1, np.float32)},
        {"y": np.zeros(2, np.float32)},
    ]

    def infer(_request: object, _context: object) -> ModelInferResponse:
        ((name, array),) = answers.pop(0).items()
        response = ModelInferResponse(model_name="m", model_version="1", raw_output_contents=[array.tobytes()])
        response.outputs.add(name=name, datatype="FP64" if array.dtype == np.float64 else "FP32", shape=array.shape)
        return response

    served = Served()
    served.inputs, served.outputs = signature.inputs, signature.outputs
    with (
        imported(write(tmp_path / "package", signature)) as package,
        TinyServer(ModelInfer=infer, ModelMetadata=served.metadata) as server,
        Client(server.address) as client,
    ):
        model = package.M(client)
        with pytest.raises(ModelChanged, match=r"output 'y' was FP32, came as FP64; generate the code again"):
            model.infer(ROWS)
        with pytest.raises(BadResponse, match=r"^output 'y' of model 'm' is not in the answer$"):
            model.infer(ROWS)
        assert model.infer(ROWS).y.shape == (2,)
    assert served.asked == 2  # at first, and after the answer that did not fit


def test_a_shape_that_is_not_declared_fits_what_metadata_say_of_it() -> None:
    """The protocol has no word for it: [] or [-1], the same as for other shapes."""
    code = ModelSignature(
        model="m", inputs=(TensorSpec(name="x", datatype="FP32", shape=None),), outputs=(), sha256="of the graph"
    )
    for shape in ((), (-1,)):
        code.check(_info(spec("x", "FP32", *shape)))
    with pytest.raises(ModelChanged, match=r"input 'x' was FP32 of any shape, is FP32 \[-1,2\]"):
        code.check(_info(spec("x", "FP32", -1, 2)))
    assert code.bind([np.zeros((2, 3), np.float32)])["x"].shape == (2, 3)


def _info(*inputs: TensorSpec) -> ModelInfo:
    return ModelInfo(name="m", versions=("1",), platform="", inputs=inputs, outputs=())


def test_an_output_declared_as_one_row_may_turn_out_to_have_more() -> None:
    """Code from files knows the declaration, a server has run the model. Of an input one row stays one row."""

    def found(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> ModelInfo:
        x = TensorSpec(name="x", datatype="FP32", shape=inputs)
        label = TensorSpec(name="label", datatype="INT64", shape=outputs)
        return ModelInfo(name="m", versions=("1",), platform="", inputs=(x,), outputs=(label,))

    before = found((1, 2), (1, 3))
    code = ModelSignature(model="m", inputs=before.inputs, outputs=before.outputs)
    code.check(found((1, 2), (-1, 3)))
    with pytest.raises(ModelChanged, match=r"output 'label' was INT64 \[1,3\], is INT64 \[-1,4\]"):
        code.check(found((1, 2), (-1, 4)))
    with pytest.raises(ModelChanged, match=r"input 'x' was FP32 \[1,2\], is FP32 \[-1,2\]"):
        code.check(found((-1, 2), (1, 3)))
