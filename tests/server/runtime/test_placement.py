"""What is read of a ModelConfig: placement and tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf import text_format

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime.placement import Accelerator, InstanceGroup, PlacementRequest, read_placement_request
from sardonyx_server.runtime.tuning import SessionTuning, read_tuning
from sardonyx_wire.messages import ModelConfig
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


def config(text: str) -> ModelConfig:
    """As config.pbtxt has it."""
    parsed = ModelConfig()
    text_format.Parse(f"name: 'm' {text}", parsed)
    return parsed


def parameters(values: Mapping[str, str]) -> ModelConfig:
    """A config with these parameters."""
    made = ModelConfig(name="m")
    for key, value in values.items():
        made.parameters[key].string_value = value
    return made


class TestPlacement:
    """Where a model may run."""

    def test_an_empty_config_asks_for_nothing(self) -> None:
        """And warns of nothing."""
        assert read_placement_request(ModelConfig(name="m")) == (PlacementRequest(name="m"), ())

    def test_everything_that_has_a_meaning_is_read(self) -> None:
        """Groups, accelerators and their parameters, the model's parameters, the batch size."""
        specs = (TensorSpec(name="x", datatype="FP32", shape=(-1,)),)
        placement, warnings = read_placement_request(
            config("""
                max_batch_size: 8
                instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0, 1 ] }, { kind: KIND_CPU } ]
                instance_group [ { kind: KIND_MODEL }, {} ]
                optimization { execution_accelerators {
                    gpu_execution_accelerator: [
                        { name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } }
                    ]
                    cpu_execution_accelerator: [ { name: "openvino" } ]
                } }
                parameters { key: "gpu_mem_limit" value { string_value: "1024" } }
            """),
            inputs=specs,
            cache_folder="/cache",
            content="c0ffee",
        )
        assert warnings == ()
        assert placement == PlacementRequest(
            name="m",
            groups=(
                InstanceGroup(kind="gpu", count=2, gpus=(0, 1)),
                InstanceGroup(kind="cpu"),
                InstanceGroup(kind="model"),
                InstanceGroup(),
            ),
            gpu_accelerators=(Accelerator(name="tensorrt", parameters={"precision_mode": "FP16"}),),
            cpu_accelerators=(Accelerator(name="openvino"),),
            parameters={"gpu_mem_limit": "1024"},
            inputs=specs,
            max_batch_rows=8,
            cache_folder="/cache",
            content="c0ffee",
        )

    def test_fields_without_effect_are_named(self) -> None:
        """Never silently ignored."""
        _, warnings = read_placement_request(
            config("instance_group [ {}, { passive: true profile: 'p' host_policy: 'h' } ]")
        )
        assert warnings == (
            "instance_group[1].passive has no effect here",
            "instance_group[1].profile has no effect here",
            "instance_group[1].host_policy has no effect here",
        )


class TestTuning:
    """How onnxruntime runs it."""

    def test_an_empty_config_leaves_all_to_the_server(self) -> None:
        """0 threads means the same, as in Triton; parameters of others are left alone."""
        assert read_tuning(ModelConfig()) == SessionTuning()
        assert read_tuning(parameters({"intra_op_thread_count": "0", "someone_elses": "x"})) == SessionTuning()

    def test_tritons_names_are_understood(self) -> None:
        """All that its onnxruntime backend documents."""
        values = {
            "intra_op_thread_count": "3",
            "inter_op_thread_count": "2",
            "execution_mode": "1",
            "enable_mem_arena": "0",
            "enable_mem_pattern": "1",
            "memory.enable_memory_arena_shrinkage": "cpu:0;gpu:1",
            "session.use_device_allocator_for_initializers": "1",
        }
        assert read_tuning(parameters(values)) == SessionTuning(
            intra_op_threads=3,
            inter_op_threads=2,
            parallel=True,
            mem_arena=False,
            mem_pattern=False,  # not with parallel execution
            arena_shrinkage="cpu:0;gpu:1",
            entries={"session.use_device_allocator_for_initializers": "1"},
        )

    @pytest.mark.parametrize(("level", "want"), [(-1, "basic"), (0, "all"), (1, "extended"), (2, "off")])
    def test_graph_levels_are_tritons(self, level: int, want: str) -> None:
        """optimization.graph.level."""
        assert read_tuning(config(f"optimization {{ graph {{ level: {level} }} }}")).graph_level == want

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("intra_op_thread_count", "many", "a whole number from 0 (found by the server) to 1024"),
            ("intra_op_thread_count", "1025", "a whole number from 0 (found by the server) to 1024"),
            ("inter_op_thread_count", "-1", "a whole number from 0 (found by the server) to 1024"),
            ("execution_mode", "2", "0 or 1"),
            ("enable_mem_arena", "true", "0 or 1"),
            ("memory.enable_memory_arena_shrinkage", "cpu", "a list such as cpu:0;gpu:0"),
        ],
    )
    def test_a_value_that_cannot_be_is_a_load_error(self, key: str, value: str, expected: str) -> None:
        """With the key, what is expected and what came."""
        with pytest.raises(LoadFailed) as caught:
            read_tuning(parameters({key: value}))
        assert caught.value.message == f"model 'm': {key}: expected {expected}, got '{value}'"

    def test_a_number_that_python_does_not_read_is_a_load_error(self) -> None:
        """It raises at 4,301 digits; here one more that is wrong."""
        with pytest.raises(LoadFailed, match=r"^model 'm': intra_op_thread_count: expected a whole number from 0"):
            read_tuning(parameters({"intra_op_thread_count": "1" * 5000}))

    def test_the_sessions_of_all_groups_share_the_most_threads(self) -> None:
        """Each group has a session, and each session threads of its own: 1,024 of either would be a million."""
        groups = config("instance_group [ { kind: KIND_CPU }, { kind: KIND_CPU } ]")
        groups.parameters["intra_op_thread_count"].string_value = "512"
        assert read_tuning(groups).intra_op_threads == 512
        groups.parameters["intra_op_thread_count"].string_value = "513"
        with pytest.raises(
            LoadFailed, match=r"expected a whole number from 0 \(found by the server\) to 512, got '513'"
        ):
            read_tuning(groups)

    def test_an_unknown_graph_level_is_a_load_error(self) -> None:
        """Triton takes any number."""
        with pytest.raises(LoadFailed, match=r"model 'm': optimization\.graph\.level: expected -1, 0, 1 or 2, got '7'"):
            read_tuning(config("optimization { graph { level: 7 } }"))
