"""The contract: equal to tritonclient's field by field, importable beside it, and regenerated to the same bytes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_wire import messages

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
FILES = ("model_config", "grpc_service")

# (kind, full name) -> what must be equal
Facts = dict[tuple[str, str], tuple[object, ...]]


def describe_file(file: Any) -> Facts:
    """Every fact of a file that shows on the wire, in JSON, in text format or in generated code."""
    facts: Facts = {}
    for enum in file.enum_types_by_name.values():
        facts |= describe_enum(enum)
    for message in file.message_types_by_name.values():
        facts |= describe_message(message)
    for service in file.services_by_name.values():
        for method in service.methods:
            facts["rpc", method.full_name] = (
                method.input_type.full_name,
                method.output_type.full_name,
                method.client_streaming,
                method.server_streaming,
            )
    return facts


def describe_enum(enum: Any) -> Facts:
    """Numbers of all values."""
    return {("enum", enum.full_name): tuple((value.name, value.number) for value in enum.values)}


def describe_message(message: Any) -> Facts:
    """Fields, oneofs and nested types. A field's number comes with type, label, presence, oneof and JSON name."""
    facts: Facts = {
        ("message", message.full_name): (
            message.GetOptions().map_entry,
            tuple((oneof.name, tuple(field.name for field in oneof.fields)) for oneof in message.oneofs),
        )
    }
    for field in message.fields:
        related = field.message_type or field.enum_type
        facts["field", field.full_name] = (
            field.number,
            field.type,
            isinstance(field.default_value, list),
            field.has_presence,
            field.json_name,
            related.full_name if related else None,
            field.containing_oneof.name if field.containing_oneof else None,
            field.is_packed if hasattr(field, "is_packed") else None,
        )
    for enum in message.enum_types:
        facts |= describe_enum(enum)
    for nested in message.nested_types:
        facts |= describe_message(nested)
    return facts


def ours(name: str) -> Facts:
    """Facts of one of our files."""
    return describe_file(messages.POOL.FindFileByName(f"inference/{name}.proto"))


def theirs(name: str) -> Facts:
    """Facts of the same file in tritonclient."""
    grpc = pytest.importorskip("tritonclient.grpc")
    module = grpc.model_config_pb2 if name == "model_config" else grpc.service_pb2
    return describe_file(module.DESCRIPTOR)


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that finds the three packages."""
    paths = [str(ROOT / folder) for folder in ("protos", "client", "server")]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class TestEquality:
    """Names, numbers, types, labels, oneofs, enums and RPCs are tritonclient's."""

    @pytest.mark.parametrize("name", FILES)
    def test_nothing_of_tritonclient_is_missing_or_different(self, name: str) -> None:
        """What tritonclient knows, we know in the same way."""
        mine = ours(name)
        assert {key: mine.get(key) for key in theirs(name)} == theirs(name)

    @pytest.mark.parametrize("name", FILES)
    def test_nothing_is_added(self, name: str) -> None:
        """What we know, tritonclient knows."""
        assert ours(name).keys() - theirs(name).keys() == set()

    def test_the_comparison_sees_every_kind_of_fact(self) -> None:
        """An empty comparison would pass: the counts are those of the protocol."""
        kinds = [kind for name in FILES for kind, _ in ours(name)]
        assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
            "enum": 9,
            "field": 361,
            "message": 130,
            "rpc": 20,
        }

    def test_bytes_of_a_full_request_mean_the_same_to_both(self) -> None:
        """A request written by tritonclient's class is read by ours without unknown fields."""
        grpc = pytest.importorskip("tritonclient.grpc")
        request = grpc.service_pb2.ModelInferRequest(model_name="m", model_version="3", id="x")
        request.parameters["priority"].uint64_param = 1
        tensor = request.inputs.add(name="a", datatype="FP32", shape=[1, 2])
        tensor.contents.fp32_contents.extend([1.5, -2.5])
        request.outputs.add(name="b").parameters["classification"].int64_param = 2
        encoded = request.SerializeToString(deterministic=True)
        read = messages.ModelInferRequest.FromString(encoded)
        assert read.SerializeToString(deterministic=True) == encoded
        assert str(read) == str(request)


class TestModule:
    """What messages.py offers."""

    def test_all_names_every_top_level_message_sorted(self) -> None:
        """One name for each message and enum, and the four of the module itself."""
        expected: set[str] = {"METHODS", "POOL", "SERVICE", "Method"}
        for name in FILES:
            file = messages.POOL.FindFileByName(f"inference/{name}.proto")
            expected |= {*file.message_types_by_name, *file.enum_types_by_name}
        assert messages.__all__ == sorted(expected)
        assert all(hasattr(messages, name) for name in messages.__all__)

    def test_stubs_and_module_export_the_same_names(self) -> None:
        """A name that type checkers know exists, and the other way round."""
        tree = ast.parse((ROOT / "protos/sardonyx_wire/messages.pyi").read_text())
        (exported,) = (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        assert exported == messages.__all__

    def test_methods_hold_the_facts_of_each_rpc(self) -> None:
        """Path, classes and streaming, for servers and clients that have no generated stubs."""
        assert messages.SERVICE == "inference.GRPCInferenceService"
        assert len(messages.METHODS) == 20
        method = messages.METHODS["ModelStreamInfer"]
        assert method.name == "ModelStreamInfer"
        assert method.path == "/inference.GRPCInferenceService/ModelStreamInfer"
        assert method.request is messages.ModelInferRequest
        assert method.response is messages.ModelStreamInferResponse
        assert (method.client_streaming, method.server_streaming) == (True, True)
        unary = messages.METHODS["ModelInfer"]
        assert (unary.client_streaming, unary.server_streaming) == (False, False)

    def test_enums_answer_names_and_numbers(self) -> None:
        """Top-level enums are wrappers; values of nested ones are attributes."""
        assert messages.DataType.Value("TYPE_FP32") == 11
        assert messages.DataType.Name(13) == "TYPE_STRING"
        assert messages.ModelInstanceGroup.KIND_CPU == 2
        assert messages.ModelInstanceGroup.Kind.Name(1) == "KIND_GPU"


class TestCoexistence:
    """Other packages put another copy of package ``inference`` into protobuf's default pool."""

    @pytest.mark.parametrize(
        "order",
        [("sardonyx_wire.messages", "tritonclient.grpc"), ("tritonclient.grpc", "sardonyx_wire.messages")],
        ids=["ours first", "ours last"],
    )
    def test_both_orders_import(self, order: tuple[str, str]) -> None:
        """Neither raises, and both can still make messages."""
        pytest.importorskip("tritonclient.grpc")
        program = (
            "import importlib, sys\n"
            "for name in sys.argv[1:]: importlib.import_module(name)\n"
            "import sardonyx_wire.messages as ours, tritonclient.grpc as theirs\n"
            "data = theirs.service_pb2.ModelReadyRequest(name='m').SerializeToString()\n"
            "print(ours.ModelReadyRequest.FromString(data).name)\n"
        )
        done = run_python(program, *order)
        assert (done.returncode, done.stdout, done.stderr) == (0, "m\n", "")

    def test_import_needs_neither_grpc_nor_grpc_tools(self) -> None:
        """The contract stands on protobuf and numpy alone."""
        program = (
            "import sys\n"
            "import sardonyx_wire.messages, sardonyx_wire.datatypes, sardonyx_wire.tensors\n"
            "print(sorted(sys.modules.keys() & {'grpc', 'grpc_tools', 'google.protobuf.descriptor_pb2'}))\n"
        )
        done = run_python(program)
        assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.fixture(scope="module")
def generator() -> Mapping[str, Any]:
    """Names of protos/generate.py, which is a script and no package."""
    pytest.importorskip("grpc_tools")
    path = ROOT / "protos/generate.py"
    names: dict[str, Any] = {"__name__": "generate", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), names)  # noqa: S102 -- our own script
    return names


class TestGenerated:
    """inference.binpb and messages.pyi are what the .proto files make."""

    def test_check_passes(self, generator: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        """What is committed regenerates to the same bytes."""
        status = generator["main"](["--check"])
        assert (status, capsys.readouterr().err) == (0, "")

    def test_check_names_the_file_that_differs(
        self, generator: Mapping[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """Exit status 1, one line for each file, and nothing is written."""
        folder = tmp_path / "protos" / "sardonyx_wire"
        folder.mkdir(parents=True)
        (folder / "messages.pyi").write_bytes((generator["WIRE"] / "messages.pyi").read_bytes() + b"\n")
        status = generator["update"](check=True, wire=folder)
        assert status == 1
        assert capsys.readouterr().err == (
            "protos/sardonyx_wire/inference.binpb differs from the .proto files: run `make protos`\n"
            "protos/sardonyx_wire/messages.pyi differs from the .proto files: run `make protos`\n"
        )
        assert not (folder / "inference.binpb").exists()

    def test_writing_makes_what_is_committed(self, generator: Mapping[str, Any], tmp_path: Path) -> None:
        """Into an empty folder too."""
        assert generator["update"](check=False, wire=tmp_path) == 0
        for name in ("inference.binpb", "messages.pyi"):
            assert (tmp_path / name).read_bytes() == (generator["WIRE"] / name).read_bytes()

    def test_users_can_compile_the_contract(self, generator: Mapping[str, Any], tmp_path: Path) -> None:
        """``protoc -I protos inference/grpc_service.proto``, as the README says."""
        protoc = generator["protoc"]
        status = protoc.main(
            ["protoc", f"-I{ROOT / 'protos'}", f"--python_out={tmp_path}", "inference/grpc_service.proto"]
        )
        assert status == 0
        assert (tmp_path / "inference" / "grpc_service_pb2.py").exists()

    def test_descriptors_hold_no_source_positions(self) -> None:
        """They would change with every comment, and double the file."""
        assert b"inference/grpc_service.proto" in (data := (ROOT / "protos/sardonyx_wire/inference.binpb").read_bytes())
        assert b"Is the process able to answer" not in data
