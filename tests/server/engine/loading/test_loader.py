"""From files on disk to a model that answers: with the real runtime, on small graphs made for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.loading.loader import Loader
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.running.model import Model
from sardonyx_server.engine.statistics import snapshot
from sardonyx_server.errors import InvalidRequest, LoadFailed
from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import ModelSpec
from sardonyx_server.runtime.backend import OrtBackend
from tests.server.engine.doubles import PATIENCE_S, FakeCall, PromptLane, message, publish
from tests.server.engine.regions import some_regions

FLOAT = TensorProto.FLOAT


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str | None] | None],
    outputs: dict[str, Sequence[int | str | None] | None],
    defaults: dict[str, Any] | None = None,
) -> bytes:
    """A model of FP32 tensors."""
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in (defaults or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def doubling(shape: Sequence[int | str | None] | None = ("N", 2), out: Any = "same") -> bytes:
    """A model of y = x + x."""
    return graph([helper.make_node("Add", ["x", "x"], ["y"])], {"x": shape}, {"y": shape if out == "same" else out})


def looping(width: int = 2) -> bytes:
    """The same by a loop that goes once."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "v"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_next", FLOAT, None),
        ],
    )
    once = helper.make_node("Constant", [], ["once"], value=numpy_helper.from_array(np.array(1, np.int64)))
    true = helper.make_node("Constant", [], ["true"], value=numpy_helper.from_array(np.array(True)))
    loop = helper.make_node("Loop", ["once", "true", "x"], ["y"], body=body)
    return graph([once, true, loop], {"x": ("N", width)}, {"y": ("N", width)})


# The rows of the first axis sum to one: they touch each other.
MIXING = graph([helper.make_node("Softmax", ["x"], ["y"], axis=0)], {"x": ("N", 2)}, {"y": ("N", 2)})
# One row out, however many come in; the graph promises as many.
SHRINKING = graph([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)], {"x": ("N", 2)}, {"y": (None, None)})


class Repository:
    """A folder with one model, and a loader before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.models: list[Model] = []
        self.states: list[State] = []

    def load(
        self,
        data: bytes,
        config: str = "",
        *,
        cores: int = 1,
        inline: bool = True,
        probe_budget_s: float = 0.2,
        **settings: Any,
    ) -> Model:
        """Write the model and open it."""
        version = self._folder / "m" / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(data)
        if config:
            (self._folder / "m" / "config.pbtxt").write_text(config)
        loader = Loader(
            OrtBackend(requested=("cpu",), cores=cores),
            queue_rows=100,
            queue_bytes=10**8,
            total_queue_bytes=10**8,
            probe_budget_s=probe_budget_s,
            max_batch_rows=settings.get("max_batch_rows", 8),
            response_cache=settings.get("response_cache"),
            lane=PromptLane() if inline else None,
            on_runner_lost=lambda _error: None,
        )
        spec = scan([self._folder])["m"]
        assert isinstance(spec, ModelSpec), spec
        model = loader.load(spec, 1, self.states.append)
        self.models.append(model)
        return model


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """An empty one; what it loads is drained in the end."""
    made = Repository(tmp_path)
    yield made
    for model in made.models:
        assert model.drain(PATIENCE_S)


def run(model: Model, *rows: int) -> list[FakeCall]:
    """Requests of so many rows of ones, answered."""
    registry = Registry()
    publish(registry, model)
    intake = Intake(registry)
    calls = []
    for count in rows:
        call = FakeCall()
        intake.accept(message({"x": np.ones((count, 2), np.float32)}).SerializeToString(), call)
        calls.append(call)
    intake.run_waiting()
    for call in calls:
        call.wait()
    return calls


def run_unread(model: Model, width: int, values: Sequence[float], gone: int | None = None) -> list[FakeCall]:
    """Requests of one row that lies in shared memory, each in a region of its own, answered.

    ``gone``: the region that its owner has made smaller by then.
    """
    registry = Registry()
    publish(registry, model)
    regions = some_regions(**{f"r{at}": np.full(width, value, np.float32).tobytes() for at, value in enumerate(values)})
    intake = Intake(registry, find_region=regions.find)
    calls = [FakeCall() for _ in values]
    for at, call in enumerate(calls):
        request = message({"x": np.empty((1, width), np.float32)})
        del request.raw_input_contents[:]
        request.inputs[0].parameters["shared_memory_region"].string_param = f"r{at}"
        request.inputs[0].parameters["shared_memory_byte_size"].int64_param = 4 * width
        intake.accept(request.SerializeToString(), call)
    if gone is not None:
        memory: Any = regions.find(f"r{gone}").memory
        del memory.data[8:]
    intake.run_waiting()
    for call in calls:
        call.wait()
    return calls


class TestSharedMemory:
    """Rows that their run reads from shared memory."""

    WIDTH = 150_528
    WIDE = graph([helper.make_node("ReduceMax", ["x"], ["y"], axes=[1])], {"x": ("N", WIDTH)}, {"y": ("N", 1)})

    def test_they_share_a_run_where_rows_that_are_sent_had_better_run_alone(self, repository: Repository) -> None:
        """To share one costs them no copy."""
        model = repository.load(self.WIDE, cores=2)
        assert (model.config.max_batch_size, model.inline) == (1, True)
        calls = run_unread(model, self.WIDTH, [5, 7, 9])
        assert [call.arrays[0].tolist() for call in calls] == [[[5]], [[7]], [[9]]]
        assert [(size.size_rows, size.count) for size in snapshot(model).batches] == [(3, 1)]
        assert model.info.runners_reason.endswith(" rows at a time where they lie in shared memory")

    def test_one_that_cannot_be_read_fails_alone(self, repository: Repository) -> None:
        """Its owner has made it smaller; the others run without it."""
        calls = run_unread(repository.load(self.WIDE, cores=2), self.WIDTH, [5, 7, 9], gone=1)
        assert isinstance(calls[1].error, InvalidRequest)
        assert [calls[at].arrays[0].tolist() for at in (0, 2)] == [[[5]], [[9]]]

    @pytest.mark.parametrize("config", ["max_batch_size: 1", "max_batch_size: 2"])
    def test_the_configs_word_holds_for_them_as_well(self, config: str, repository: Repository) -> None:
        """Where it says how many rows a run may have."""
        model = repository.load(self.WIDE, config, cores=2)
        run_unread(model, self.WIDTH, [5, 7])
        assert [size.size_rows for size in snapshot(model).batches] == [int(config[-1])]


class TestBatching:
    """Whether rows share a run, and how many."""

    def test_a_model_whose_rows_do_not_touch_each_other_is_batched(self, repository: Repository) -> None:
        """Nobody has to say so; how far is measured."""
        model = repository.load(doubling())
        assert model.info.verdict.batchable
        assert model.signature.has_batch_axis
        assert 1 <= model.config.max_batch_size <= 8
        assert model.config.max_batch_size == model.info.verdict.best_rows
        assert [call.arrays[0].tolist() for call in run(model, 3, 1, 20)] == [
            [[2, 2]] * 3,
            [[2, 2]],
            [[2, 2]] * 20,
        ]

    def test_a_model_whose_rows_touch_each_other_is_not(self, repository: Repository) -> None:
        """Each request runs alone, with all of its rows."""
        model = repository.load(MIXING)
        assert not model.info.verdict.batchable
        assert (model.config.max_batch_size, model.signature.has_batch_axis) == (0, False)
        assert [call.arrays[0].tolist() for call in run(model, 2, 1)] == [[[0.5, 0.5]] * 2, [[1.0, 1.0]]]

    def test_the_config_may_decline_batching(self, repository: Repository) -> None:
        """max_batch_size: 0 is not the same as silence."""
        model = repository.load(doubling(), "max_batch_size: 0")
        assert (model.config.max_batch_size, model.signature.has_batch_axis) == (0, False)
        assert model.info.verdict.reason == "turned off: max_batch_size is 0 in the configuration"

    def test_the_config_may_set_the_size(self, repository: Repository) -> None:
        """Whatever pays; requests join up to it."""
        model = repository.load(doubling(), "max_batch_size: 5")
        assert model.config.max_batch_size == 5
        assert model.config.HasField("dynamic_batching")
        assert run(model, 12)[0].arrays[0].tolist() == [[2, 2]] * 12
        assert sum(counters.batches for counters in model.counters) == 3

    def test_the_config_may_set_a_size_for_which_there_is_no_memory(self, repository: Repository) -> None:
        """Only rows that requests bring are ever run."""
        model = repository.load(looping(width=2**16), "max_batch_size: 2147483647", cores=2)
        assert model.config.max_batch_size == 2**31 - 1
        assert model.info.runners_reason.startswith("fastest of ")

    def test_the_config_may_batch_what_looks_unsafe(self, repository: Repository) -> None:
        """The operator knows better; the verdict says so."""
        model = repository.load(MIXING, "max_batch_size: 4")
        assert model.config.max_batch_size == 4
        assert model.info.verdict.reason.startswith(
            "max_batch_size 4 by configuration, although rows of output 'y' change when batched"
        )

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (doubling(None), "input 'x' declares no shape"),
            (doubling(out=None), "output 'y' declares no shape"),
            (doubling(("N", "N")), "input 'x' has its first axis 'N' more than once"),
        ],
    )
    def test_a_size_for_a_model_without_a_batch_axis_is_a_load_error(
        self, repository: Repository, data: bytes, reason: str
    ) -> None:
        """Serving it would give callers the rows of others, or none."""
        with pytest.raises(LoadFailed) as failure:
            repository.load(data, "max_batch_size: 4")
        assert failure.value.message == (
            f"config.pbtxt of model 'm': max_batch_size is 4, but {reason}; set max_batch_size to 0, or export the "
            "model with a dynamic first axis"
        )

    def test_a_size_for_a_model_whose_outputs_have_no_rows_is_a_load_error(self, repository: Repository) -> None:
        """The graph leaves it open: running it shows."""
        with pytest.raises(LoadFailed) as failure:
            repository.load(SHRINKING, "max_batch_size: 4")
        assert failure.value.message.startswith("config.pbtxt of model 'm': max_batch_size is 4, but ")
        assert failure.value.message.endswith(
            "; set max_batch_size to 0, or export the model with a dynamic first axis"
        )

    @pytest.mark.parametrize("config", ["", "max_batch_size: 4"])
    def test_an_output_declared_as_one_row_has_rows_where_running_it_shows_them(
        self, repository: Repository, config: str
    ) -> None:
        """Metadata and config then say what requests get."""
        model = repository.load(doubling(out=(1, 2)), config)
        assert model.signature.has_batch_axis
        assert model.outputs[0].shape == (-1, 2)
        assert list(model.config.output[0].dims) == [2]
        assert run(model, 3)[0].arrays[0].tolist() == [[2, 2]] * 3

    def test_a_size_for_an_output_that_is_one_row_is_a_load_error(self, repository: Repository) -> None:
        """The graph is right: what came back shows it."""
        nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)]
        with pytest.raises(LoadFailed, match=r"but output 'y' has shape \[1,1\] for 2 rows; set max_batch_size to 0"):
            repository.load(graph(nodes, {"x": ("N", 2)}, {"y": (1, 1)}), "max_batch_size: 4")

    @pytest.mark.parametrize("shape", [(2, 2), (), (1, 2)])
    def test_a_size_for_a_fixed_first_axis_is_a_load_error(
        self, repository: Repository, shape: tuple[int, ...]
    ) -> None:
        """The config and the graph are both shown."""
        with pytest.raises(LoadFailed, match="max_batch_size is 4, but input 'x'"):
            repository.load(doubling(shape), "max_batch_size: 4")

    def test_an_optional_input_that_callers_may_set_must_have_rows_too(self, repository: Repository) -> None:
        """A weight that one caller sets would be set for the whole batch."""
        data = graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            {"x": ("N", 2), "w": (1, 2)},
            {"y": ("N", 2)},
            {"w": [[10, 20]]},
        )
        model = repository.load(data, 'input { name: "w" data_type: TYPE_FP32 optional: true }')
        assert not model.signature.has_batch_axis
        assert model.info.verdict.reason == "input 'w' has a first axis fixed to 1"
        assert run(model, 3)[0].arrays[0].tolist() == [[11, 21]] * 3

    def test_an_optional_input_that_callers_may_not_set_is_no_hindrance(self, repository: Repository) -> None:
        """Old exporters list every weight as an input."""
        data = graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            {"x": ("N", 2), "w": (1, 2)},
            {"y": ("N", 2)},
            {"w": [[10, 20]]},
        )
        model = repository.load(data)
        assert model.signature.has_batch_axis
        assert [spec.name for spec in model.inputs] == ["x"]


class TestRunners:
    """Who runs the batches."""

    def test_a_cheap_model_runs_inline(self, repository: Repository) -> None:
        """A hand-over would cost more than the run."""
        model = repository.load(doubling(), cores=2)
        assert model.inline
        assert model.info.runners == 0
        assert model.info.runners_reason.startswith("inline: a full batch takes ")

    def test_a_model_with_a_loop_has_runners(self, repository: Repository) -> None:
        """However cheap it was when measured: a caller may say how often it goes, and the lane is everybody's."""
        model = repository.load(looping(), cores=2)
        assert not model.inline
        assert model.info.runners >= 1
        assert run(model, 3)[0].arrays[0].tolist() == [[2, 2]] * 3

    def test_where_the_transport_cannot_run_inline_there_are_runners(self, repository: Repository) -> None:
        """However cheap the model."""
        model = repository.load(doubling(), inline=False)
        assert not model.inline
        assert model.info.runners >= 1
        assert run(model, 3)[0].arrays[0].tolist() == [[2, 2]] * 3

    def test_a_delay_needs_runners(self, repository: Repository) -> None:
        """The lane does not wait."""
        model = repository.load(doubling(), "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 100 }")
        assert not model.inline

    def test_a_model_whose_dimensions_were_guessed_has_runners(self, repository: Repository) -> None:
        """Real requests may be far larger."""
        model = repository.load(doubling(("N", "columns")))
        assert model.info.verdict.guessed
        assert not model.inline

    def test_instance_group_says_how_many_runners(self, repository: Repository) -> None:
        """On one session."""
        model = repository.load(doubling(), "instance_group { count: 3 kind: KIND_CPU }", cores=2)
        assert model.info.runners == 3
        assert model.info.runners_reason == "as configured: 3 x 1 threads"
        assert run(model, *[1] * 9)[8].arrays[0].tolist() == [[2, 2]]

    def test_what_could_not_be_measured_has_a_runner_for_each_core(self, repository: Repository) -> None:
        """A model that takes no made-up input may take real ones."""
        # No index of 7 and above is within the weights. It depends on the input, or it would be refused at load.
        made = helper.make_model(
            helper.make_graph(
                [helper.make_node("Add", ["x", "seven"], ["i"]), helper.make_node("Gather", ["w", "i"], ["y"])],
                "picky",
                [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
                [
                    numpy_helper.from_array(np.array([7], np.int64), "seven"),
                    numpy_helper.from_array(np.zeros(1, np.float32), "w"),
                ],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        model = repository.load(bytes(made.SerializeToString()), cores=2)
        assert model.info.verdict.reason.startswith("could not be probed: ")
        assert model.info.runners == 2
        assert model.info.runners_reason == "not measured: one runner for each core"
        assert run(model, 1)[0].errors


class TestFailures:
    """What does not load, and what is said."""

    def test_warm_up_that_fails(self, repository: Repository) -> None:
        """A model that cannot run its own samples is not ready."""
        with pytest.raises(LoadFailed, match=r"^warm-up sample 'first': "):
            repository.load(
                doubling(),
                'model_warmup { name: "first" inputs { key: "z" value { data_type: TYPE_FP32 dims: [2] '
                "zero_data: true } } }",
            )

    def test_a_config_that_contradicts_the_graph(self, repository: Repository) -> None:
        """Both sides are shown."""
        with pytest.raises(LoadFailed) as failure:
            repository.load(doubling(), 'max_batch_size: 4 input { name: "x" data_type: TYPE_FP64 dims: [2] }')
        assert failure.value.message == ("config.pbtxt of model 'm': input 'x' is TYPE_FP64, the graph says TYPE_FP32")

    def test_a_batching_block_that_contradicts_itself(self, repository: Repository) -> None:
        """Against the size in force."""
        with pytest.raises(LoadFailed, match=r"expected sizes from 1 to max_batch_size 4, got \[8\]$"):
            repository.load(doubling(), "max_batch_size: 4 dynamic_batching { preferred_batch_size: [8] }")

    def test_no_model(self, repository: Repository) -> None:
        """Random bytes."""
        with pytest.raises(LoadFailed):
            repository.load(b"no model")


def test_states_are_told_on_the_way(repository: Repository) -> None:
    """READY is not the loader's to say."""
    repository.load(doubling())
    assert repository.states == [State.LOADING, State.WARMING]


def test_facts_tell_what_was_found_out(repository: Repository) -> None:
    """For people and metadata."""
    model = repository.load(doubling())
    info = model.info
    assert (info.provider, info.threads) == ("CPUExecutionProvider", 1)
    assert info.load_s > 0
    assert (info.config.name, info.config.platform) == ("m", "onnxruntime_onnx")
    assert [list(each.dims) for each in info.config.input] == [[2]]


def test_dims_that_include_the_first_axis_mean_no_batching(repository: Repository) -> None:
    """As with Triton: without max_batch_size the dims are those of the whole tensor."""
    model = repository.load(doubling(), 'input { name: "x" data_type: TYPE_FP32 dims: [-1, 2] }')
    assert model.config.max_batch_size == 0
    assert list(model.config.input[0].dims) == [-1, 2]


def test_dims_are_what_the_probe_tries(repository: Repository) -> None:
    """The graph leaves the width open; the config's word is not a guess, so the cost is known and the model inline."""
    model = repository.load(doubling(("N", "columns")), 'max_batch_size: 4 input { name: "x" dims: [2] }')
    assert model.info.verdict.input_shapes == {"x": (1, 2)}
    assert not model.info.verdict.guessed
    assert model.inline


def test_dims_make_a_graph_that_declares_none_batchable(repository: Repository) -> None:
    """Of every input and output; they say which axis is the batch."""
    dims = 'input { name: "x" dims: [2] } output { name: "y" dims: [2] }'
    model = repository.load(doubling(None), f"max_batch_size: 4 {dims}")
    assert model.signature.has_batch_axis
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(-1, 2), (-1, 2)]
    assert run(model, 6)[0].arrays[0].tolist() == [[2, 2]] * 6


def test_a_model_with_a_response_cache_keeps_answers(repository: Repository) -> None:
    """Where the server keeps any."""
    model = repository.load(doubling(), "response_cache { enable: true }", response_cache=ResponseCache(10**6))
    assert [run(model, 1)[0].arrays[0].tolist() for _ in range(3)] == [[[2, 2]]] * 3
    assert sum(counters.batches for counters in model.counters) == 1
    assert model.config.response_cache.enable
    assert model.info.warnings == ()


def test_a_server_that_keeps_nothing_says_so(repository: Repository) -> None:
    """A field that has no effect is named."""
    model = repository.load(doubling(), "response_cache { enable: true }")
    assert model.info.warnings == (
        "response_cache has no effect: the server keeps no responses, for cache_bytes is off",
    )
