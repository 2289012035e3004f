"""Models that do not load, on the real onnxruntime."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.native_session import model_source, session_options
from sardonyx_server.runtime.placement import ProviderOption
from sardonyx_server.runtime.session import open_session
from sardonyx_server.runtime.tuning import SessionTuning
from tests.server.runtime import models
from tests.server.runtime.sessions import load_message, opened, run

if TYPE_CHECKING:
    from pathlib import Path


class TestLoadErrors:
    """What a model that does not load says."""

    @pytest.mark.parametrize(
        ("model_bytes", "message"),
        [
            pytest.param(b"", "the file is empty or holds no graph; copy it again, or export it again", id="empty"),
            pytest.param(
                b"hello" * 20,
                "the file is no ONNX model, or is damaged or cut short; copy it again, or export it again",
                id="random",
            ),
            pytest.param(
                models.matmul()[:-5],
                "the file is no ONNX model, or is damaged or cut short; copy it again, or export it again",
                id="cut short",
            ),
            pytest.param(
                models.one_node("Foo", models.FLOAT, models.FLOAT),
                "operator 'Foo' of opset 20 is unknown to onnxruntime VERSION; "
                "export it with another opset, or install a newer onnxruntime",
                id="unknown operator",
            ),
            pytest.param(
                models.model(
                    [helper.make_node("Foo", ["x"], ["y"], domain="com.acme")],
                    [models.tensor("x", models.FLOAT)],
                    [models.tensor("y", models.FLOAT)],
                    domains=["com.acme"],
                ),
                "operator 'com.acme:Foo' is unknown to onnxruntime VERSION, and libraries of custom operators are not "
                "loaded "
                "here; export it with standard operators",
                id="custom operator",
            ),
            pytest.param(
                models.model(
                    [helper.make_node("Foo", ["x"], ["y"], domain="com.acme")],
                    [models.tensor("x", models.FLOAT)],
                    [models.tensor("y", models.FLOAT)],
                ),
                "it uses operators of domain 'com.acme' without an opset import for it; export it again",
                id="no opset import",
            ),
            pytest.param(
                models.model(
                    [helper.make_node("Add", ["x", "z"], ["y"])],
                    [models.tensor("x", models.FLOAT)],
                    [models.tensor("y", models.FLOAT)],
                ),
                "a node takes 'z', which no input, initializer or node gives; export it again",
                id="dangling",
            ),
            pytest.param(
                models.external_data("weights.bin"),
                "the external data are missing or lie outside the model's folder; put the file beside "
                "the model, "
                "under the name the model gives, or save the model in one file",
                id="external data",
            ),
            pytest.param(
                models.external_data("../../etc/passwd"),
                "the external data are missing or lie outside the model's folder; put the file beside "
                "the model, "
                "under the name the model gives, or save the model in one file",
                id="external data outside",
            ),
            pytest.param(
                models.one_node("Identity", models.FLOAT, models.INT64),
                "onnxruntime refuses it: Type Error: Type (tensor(int64)) of output arg (y) of node (a/node) does not "
                "match "
                "expected type (tensor(float)); see what onnx.checker.check_model says of it",
                id="types",
            ),
        ],
    )
    def test_the_message_says_what_is_wrong_and_the_way_out(self, model_bytes: bytes, message: str) -> None:
        """Exact texts; onnxruntime's own are chained."""
        want = f"model 'm': {message.replace('VERSION', ort_import.import_onnxruntime().__version__)}"
        # onnxruntime 1.23 does not say whose external data are missing.
        assert load_message(model_bytes).replace(" of tensor 'w'", "") == want

    def test_versions_that_are_too_new_name_what_is_supported(self) -> None:
        """Opset and IR version."""
        node = helper.make_node("Identity", ["x"], ["y"])
        arguments = [node], [models.tensor("x", models.FLOAT)], [models.tensor("y", models.FLOAT)]
        assert load_message(models.model(*arguments, opset=99)).startswith(
            "model 'm': it needs opset 99 of ai.onnx, and onnxr"
        )
        assert load_message(models.model(*arguments, ir_version=99)).startswith(
            "model 'm': its format is IR version 99, and "
        )

    def test_a_map_or_a_sequence_cannot_be_served(self) -> None:
        """Whatever gives it; the layers above take ZipMap out before."""
        sequence = helper.make_tensor_sequence_value_info("y", models.FLOAT, None)
        node = helper.make_node("SequenceConstruct", ["x"], ["y"])
        assert load_message(models.model([node], [models.tensor("x", models.FLOAT)], [sequence])) == (
            "output 'y' of model 'm' is a sequence, and only tensors can be served; export the model with tensors only"
        )
        zipmap = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
        maps = helper.make_sequence_type_proto(
            helper.make_map_type_proto(models.INT64, helper.make_tensor_type_proto(models.FLOAT, []))
        )
        model_bytes = models.model(
            [zipmap],
            [models.tensor("x", models.FLOAT, ["n", 2])],
            [helper.make_value_info("y", maps)],
            domains=["ai.onnx.ml"],
        )
        assert load_message(model_bytes) == (
            "output 'y' of model 'm' is a sequence of maps, and only tensors can be served; "
            "export the model with zipmap=False"
        )

    def test_a_datatype_that_the_protocol_lacks_cannot_be_served(self) -> None:
        """Such as 8-bit floats."""
        assert load_message(models.identity(TensorProto.FLOAT8E4M3FN)) == (
            "input 'x' of model 'm' is of type float8e4m3fn, which the protocol does not have; cast it inside the model"
        )

    def test_a_large_model_that_is_damaged_is_named_without_a_path(self) -> None:
        """It is a file in memory to onnxruntime, and to nobody else."""
        message = load_message(b"\xff" * 2**20)
        assert (
            message
            == "model 'm': the file is no ONNX model, or is damaged or cut short; copy it again, or export it again"
        )

    def test_bytes_never_reach_into_the_current_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There onnxruntime would look for external data of a model without a path."""
        (tmp_path / "weights.bin").write_bytes(bytes(64))
        monkeypatch.chdir(tmp_path)
        assert "the external data" in load_message(models.external_data("weights.bin"))

    def test_external_data_beside_a_path_are_read(self, tmp_path: Path) -> None:
        """The form large models have."""
        (tmp_path / "weights.bin").write_bytes(np.ones((4, 4), np.float32).tobytes())
        (tmp_path / "model.onnx").write_bytes(models.external_data("weights.bin"))
        session = open_session(name="m", path=tmp_path / "model.onnx")
        assert run(session, x=np.ones((1, 4), np.float32)).tolist() == [[4, 4, 4, 4]]

    def test_a_file_that_is_gone_is_named_without_its_path(self, tmp_path: Path) -> None:
        """Paths are the operator's."""
        with pytest.raises(LoadFailed) as caught:
            open_session(name="m", path=tmp_path / "model.onnx")
        assert caught.value.message == "model 'm': the model file is gone; put it back"

    def test_a_provider_that_is_not_there_never_falls_back(self) -> None:
        """By itself onnxruntime warns, prints, and goes on with the CPU's, unless it is stopped."""
        with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(LoadFailed) as caught:
            opened(models.identity(), providers=[ProviderOption(name="QNNExecutionProvider")])
        assert caught.value.message == (
            "model 'm': provider 'qnn' is installed but did not start; "
            "the server's log has the reason, most often a driver or a library of another version"
        )

    def test_bytes_and_path_exclude_each_other(self, tmp_path: Path) -> None:
        """A bug of the caller's in this process."""
        both: tuple[dict[str, Any], ...] = ({}, {"model_bytes": b"x", "path": tmp_path})
        for arguments in both:
            with pytest.raises(TypeError, match="bug: open_session takes model_bytes or path, one of them"):
                open_session(name="m", **arguments)


@pytest.mark.parametrize(
    ("provider", "has_external_data", "is_path"),
    [
        ("TensorrtExecutionProvider", False, False),
        ("TensorrtExecutionProvider", True, True),
        ("CUDAExecutionProvider", False, True),
    ],
)
def test_tensorrt_is_given_no_path_but_that_of_a_file_with_data_beside_it(
    tmp_path: Path, provider: str, *, has_external_data: bool, is_path: bool
) -> None:
    """It would name what it keeps after the descriptor of a file in memory, and not find it again."""
    file = tmp_path / "7"
    file.write_bytes(b"model")
    providers = [ProviderOption(name=provider), ProviderOption(name="CPUExecutionProvider")]
    assert model_source(file, providers, has_external_data=has_external_data) == (str(file) if is_path else b"model")


class TestSessionOptions:
    """What onnxruntime is told."""

    @pytest.mark.parametrize(
        ("version", "threads", "want"),
        [
            ("1.32.0", 2, ("1", "100")),
            ("1.32.0", 1, ("0", None)),
            ("1.25.1", 2, ("0", None)),
            ("nightly", 2, ("0", None)),
        ],
    )
    def test_spinning_is_bounded_or_off(self, version: str, threads: int, want: tuple[str, str | None]) -> None:
        """Threads that spin take the core that does the I/O; before 1.26 there is no bound."""
        real = ort_import.import_onnxruntime()
        runtime = SimpleNamespace(
            __version__=version,
            SessionOptions=real.SessionOptions,
            ExecutionMode=real.ExecutionMode,
            GraphOptimizationLevel=real.GraphOptimizationLevel,
        )
        options = session_options(runtime, SessionTuning(), threads=threads, has_external_data=False)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == want[0]
        assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
        if want[1] is not None:
            assert options.get_session_config_entry("session.intra_op.spin_duration_us") == want[1]
