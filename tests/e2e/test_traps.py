"""The traps that were measured, one test for each, by the number it has in the design. End to end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_wire.messages import ModelInferResponse, ModelMetadataRequest, ModelReadyRequest
from tests.e2e.messages import arrays_of, gate_request, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, MESSAGE_LIMIT_BYTES, TRANSPORTS, Server, assert_safe, eventually
from tests.e2e.trap_models import EXTERNAL_WEIGHTS, FORMULA, ODD_INPUT, ODD_OUTPUT, write_traps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=TRANSPORTS)
def trapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, started in a folder that holds a decoy of the external weights."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "weights.bin").write_bytes((EXTERNAL_WEIGHTS * -1).tobytes())
    repository = write_traps(tmp_path_factory.mktemp("traps") / "repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        with Server(repository, request.param, strict_readiness=False) as running:
            yield running


def test_trap_1_strings_of_one_caller_never_reach_another(server: Server) -> None:
    """What onnxruntime does with numpy's 'S' arrays is to read out of bounds: in a batch, into the neighbour."""
    words = [["AAAA", "BBBB", "CCCC"], ["DDDD", "EEEE", "FFFF"], ["ü", "", "b'ab'"], ["GGGG", "\0", "HHHH"]]
    with server.holding(infer_request("identity_bytes", x=np.array([["x", "y", "z"]], object)), "identity_bytes"):
        calls = [server.start_infer(infer_request("identity_bytes", x=np.array([row], object))) for row in words]
    for row, call in zip(words, calls, strict=True):
        answer = arrays_of(ModelInferResponse.FromString(call.result()))["y"]
        assert [element.decode() for element in answer[0]] == row
    server.assert_well()


@pytest.mark.parametrize("shape", [(1,), (1, 1), (0,), (2, 2)])
def test_trap_2_a_scalar_takes_no_axes_although_onnxruntime_would(server: Server, shape: tuple[int, ...]) -> None:
    """And it reports [] for a scalar and for an undeclared shape alike; the server tells them apart."""
    x = np.ones(shape, np.float32)
    failure = server.refusal(infer_request("scalar", x=x))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message.startswith("input 'x' of model 'scalar': expected FP32 [], got FP32 [")
    assert tuple(server.infer(infer_request("undeclared", x=x)).outputs[0].shape) == shape


def test_trap_3_the_text_of_an_exception_stays_inside(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets an id, the log the id and the rest, in one record."""
    server.gate.fail("gate", OSError(2, "No such file", "/secret/region_17.py"))
    failure = server.refusal(gate_request())
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.message.startswith("internal error; quote error id ")
    assert_safe(failure)
    assert "secret" not in str(failure)
    (record,) = [record for record in caplog.records if hasattr(record, "error_id")]
    assert vars(record)["error_id"] in failure.message
    assert record.exc_info is not None
    server.assert_well()


def test_trap_3_an_unforeseen_error_in_a_batch_is_not_everybodys(server: Server) -> None:
    """The batch raises once, its members run singly, all are answered."""
    with server.holding(gate_request()) as hold:
        calls = [server.start_infer(gate_request([[k, k]])) for k in range(3)]
        eventually(lambda: server.model("gate").queue.rows == 3, "three requests wait")
        server.gate.fail("gate", RuntimeError("once"))
        hold.release()
        for call in calls:
            call.result()
    server.assert_well()


def test_trap_4_gzip_bombs_from_many_callers_are_bounded(server: Server) -> None:
    """Each ends at the limit; four at once, beside a quiet caller."""
    bomb = bytes(MESSAGE_LIMIT_BYTES + 1)
    calls = [server.start_infer(bomb, compression=grpc.Compression.Gzip) for _ in range(4)]
    server.infer(infer_request("affine", x=np.ones((1, 4), np.float32)))
    for call in calls:
        assert call.exception().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    server.assert_well()


def test_trap_5_clients_that_ping_are_not_cut_off(models: Path) -> None:
    """By default one ping in five minutes is allowed. Scaled down: pings every 20 ms.

    The strict server proves that the pings are sent: it cuts its client off. By then the other one has had as many.
    """
    pinging: tuple[tuple[str, Any], ...] = (
        ("grpc.keepalive_time_ms", 20),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    settings: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("gate",)}
    with (
        Server(models, "lane", keepalive_min_ping_interval_s=3600, **settings) as strict,
        Server(models, "lane", keepalive_min_ping_interval_s=0.02, **settings) as usual,
        strict.new_channel(*pinging) as cut_off,
        usual.new_channel(*pinging) as kept,
        strict.holding(gate_request()),
        usual.holding(gate_request()) as hold,
    ):
        waits = usual.start_infer(gate_request(), channel=kept)
        lost = strict.start_infer(gate_request(), channel=cut_off)
        assert lost.exception(CALL_TIMEOUT_S).code() is grpc.StatusCode.UNAVAILABLE
        assert re.search("(?i)too.many.pings", lost.details()), lost.details()
        assert not waits.done()
        hold.release()
        waits.result()


@pytest.mark.parametrize("shape", [(2**32, 2**32), (2**31, 2, 2**32), (2**62, 4), (3, 2**63 - 1), (2**33, 0, 2**33)])
def test_trap_6_a_product_that_wraps_around_is_no_small_number(server: Server, shape: tuple[int, ...]) -> None:
    """Products of numpy are 64 bits wide: 2^32 x 2^32 is 0 there, and no bytes would be right."""
    request = infer_request("undeclared", x=np.empty(0, np.float32))
    request.inputs[0].shape[:] = shape
    failure = server.refusal(request)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["inputs[0].shape"]


def test_trap_7_external_data_come_from_the_models_own_folder(trapped: Server) -> None:
    """Not from the current folder, where a file of that name lies; not from outside of the model's folder."""
    x = np.zeros((1, 4), np.float32)
    answer = trapped.infer(infer_request("external", x=x))
    np.testing.assert_array_equal(arrays_of(answer)["y"], [EXTERNAL_WEIGHTS])
    failure = trapped.refusal(infer_request("external_outside", x=x))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "MODEL_FAILED"
    assert_safe(failure)


def test_trap_8_a_model_file_that_is_overwritten_while_it_serves_does_no_harm(trapped: Server) -> None:
    """In place, as ``cp`` does it: what is served stems from a copy."""
    x = np.ones((1, 4), np.float32)
    before = [trapped.infer(infer_request(name, x=x)) for name in ("affine", "external")]
    (repository,) = trapped.app._settings.model_repository
    for file in [*repository.glob("affine/*/model.onnx"), *repository.glob("external/1/*")]:
        content = file.read_bytes()
        file.write_bytes(b"\0" * len(content))
        file.write_bytes(b"")
    assert [trapped.infer(infer_request(name, x=x)) for name in ("affine", "external")] == before
    trapped.assert_well()


def test_trap_9_outputs_that_are_no_tensors_are_refused_with_advice(trapped: Server) -> None:
    """The model is known, not ready, and says why. Maps that a ZipMap gives are served: see test_zipmap.py."""
    assert not trapped.call("ModelReady", ModelReadyRequest(name="sequence")).ready
    failure = trapped.refusal(infer_request("sequence", x=np.ones((1, 2), np.float32)))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "MODEL_FAILED"
    assert (
        "output 'probabilities' is a sequence of tensors, expected a tensor; export the model with tensors only"
        in failure.message
    )
    assert_safe(failure)
    trapped.assert_well()


def test_trap_9_a_locale_that_is_missing_fails_its_model_only(trapped: Server) -> None:
    """Some text pipelines need one; which, the operator must be told."""
    failure = trapped.refusal(infer_request("locale", x=np.array(["A"], object)))
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.message.startswith("model 'locale' failed to load: ")
    assert "it needs the locale 'xx_XX.UTF-8', which this machine does not have; install it" in failure.message
    assert_safe(failure)
    trapped.assert_well()


def test_trap_10_odd_names_and_formulas_are_served(trapped: Server) -> None:
    """Colons and slashes in tensors' names, a model's name of digits, sizes that are formulas."""
    metadata = trapped.call("ModelMetadata", ModelMetadataRequest(name="0123"))
    assert [(x.name, list(x.shape)) for x in metadata.inputs] == [(ODD_INPUT, [-1, -1])]
    assert trapped.model("0123").inputs[0].dim_names == ("batch size", FORMULA)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    named: dict[str, Any] = {ODD_INPUT: x}
    answer = trapped.infer(infer_request("0123", outputs=[ODD_OUTPUT], **named))
    np.testing.assert_array_equal(arrays_of(answer)[ODD_OUTPUT], x)
    assert trapped.infer(infer_request("0123", version="1", **named)) == answer
    failure = trapped.refusal(infer_request("0123", **{**named, ODD_INPUT: x[0]}))
    assert failure.message == f"input '{ODD_INPUT}' of model '0123': expected FP32 [-1,-1], got FP32 [3]"
    trapped.assert_well()
