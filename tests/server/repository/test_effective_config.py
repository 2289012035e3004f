"""A config against the graph: contradictions show both sides; what is silent is filled in."""

from __future__ import annotations

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import parse_config
from sardonyx_server.repository.effective_config import (
    check_against_graph,
    complete_config,
    served_inputs,
    states_full_shapes,
    tensors,
)
from sardonyx_wire.messages import ModelConfig, ModelInstanceGroup
from sardonyx_wire.tensors import TensorSpec

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 4), dim_names=("N", ""))
S = TensorSpec(name="s", datatype="BYTES", shape=(-1,), dim_names=("N",))
Y = TensorSpec(name="y", datatype="INT64", shape=(-1, 3), dim_names=("N", ""))
SCALAR = TensorSpec(name="x", datatype="FP32", shape=())
FIXED = TensorSpec(name="x", datatype="FP32", shape=(1, 4), dim_names=("", ""))
UNDECLARED = TensorSpec(name="x", datatype="FP32", shape=None)
WEIGHT = TensorSpec(name="w", datatype="FP32", shape=(4, 3), dim_names=("", ""), optional=True)
CONFIG = "config.pbtxt of model 'm'"


def _check(text: str, *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (Y,)) -> None:
    check_against_graph(parse_config(text, "m"), inputs or (X,), outputs, source="config.pbtxt")


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("", (X,)),
        ('input { name: "x" }', (X,)),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }', (X,)),
        ('input { name: "x" dims: [ 8, 4 ] }', (X,)),
        ('max_batch_size: 8 input { name: "x" dims: [ 4 ] }', (X,)),
        ('max_batch_size: 8 input { name: "s" data_type: TYPE_STRING }', (X, S)),
        ('max_batch_size: 8 input { name: "s" dims: 1 reshape { shape: [ ] } }', (X, S)),
        ('max_batch_size: 8 input { name: "x" dims: [ 2, 2 ] reshape { shape: [ 4 ] } }', (X,)),
        ('input { name: "x" dims: 1 reshape { shape: [ ] } }', (SCALAR,)),
        ('input { name: "x" dims: [ 7, 7 ] }', (UNDECLARED,)),
        ('max_batch_size: 8 input { name: "x" dims: [ 7 ] }', (UNDECLARED,)),
        ("max_batch_size: 8", (X, WEIGHT)),
        ('input { name: "w" optional: true }', (X, WEIGHT)),
        ('input { name: "w" }', (X, WEIGHT)),
        ('output { name: "y" dims: [ -1, 3 ] label_filename: "l" }', (X,)),
    ],
)
def test_configs_that_agree_pass(text: str, inputs: tuple[TensorSpec, ...]) -> None:
    """Silence agrees, a config may narrow what the graph leaves open, and reshape is understood."""
    _check(text, *inputs)


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ('input { name: "z" }', (X, S), f"{CONFIG}: input 'z' is not in the graph, whose inputs are 'x', 's'"),
        ('output { name: "x" }', (X,), f"{CONFIG}: output 'x' is not in the graph, whose outputs are 'y'"),
        ('input { name: "x" } input { name: "x" }', (X,), f"{CONFIG}: input 'x' is listed twice; remove one"),
        (
            'input { name: "x" data_type: TYPE_INT64 }',
            (X,),
            f"{CONFIG}: input 'x' is TYPE_INT64, the graph says TYPE_FP32",
        ),
        (
            'output { name: "y" data_type: TYPE_STRING }',
            (X,),
            f"{CONFIG}: output 'y' is TYPE_STRING, the graph says TYPE_INT64",
        ),
        (
            'max_batch_size: 8 input { name: "x" dims: [ 5 ] }',
            (X,),
            f"{CONFIG}: input 'x' has dims [5] and max_batch_size 8, that is [-1,5], the graph says [-1,4]",
        ),
        (
            'max_batch_size: 8 input { name: "x" dims: [ -1, 4 ] }',
            (X,),
            f"{CONFIG}: input 'x' has dims [-1,4] and max_batch_size 8, that is [-1,-1,4], the graph says [-1,4]",
        ),
        (
            'input { name: "x" dims: [ 4 ] }',
            (X,),
            f"{CONFIG}: input 'x' has dims [4], the graph says [-1,4]; set max_batch_size, or write dims [-1,4]",
        ),
        (
            'input { name: "x" dims: [ -1, -1 ] }',
            (X,),
            f"{CONFIG}: input 'x' has dims [-1,-1], the graph says [-1,4]",
        ),
        (
            'input { name: "x" dims: [ 0, 4 ] }',
            (X,),
            f"{CONFIG}: input 'x' has dims [0,4], expected sizes from 1, or -1 for any size",
        ),
        (
            'max_batch_size: 8 input { name: "x" dims: [ 5 ] reshape { shape: [ 2, 2 ] } }',
            (X,),
            f"{CONFIG}: input 'x' has dims [5] and reshape [2,2], which hold different numbers of elements",
        ),
        (
            'max_batch_size: 8 input { name: "x" dims: [ 6 ] reshape { shape: [ 2, 3 ] } }',
            (X,),
            f"{CONFIG}: input 'x' has reshape [2,3] and max_batch_size 8, that is [-1,2,3], the graph says [-1,4]",
        ),
        (
            'input { name: "x" optional: true }',
            (X,),
            f"{CONFIG}: input 'x' is optional, but the graph has no default for it; remove 'optional'",
        ),
        (
            "max_batch_size: 8",
            (FIXED,),
            (
                f"{CONFIG}: max_batch_size is 8, but input 'x' has a first axis of fixed size, [1,4] in the graph; "
                "set max_batch_size to 0, or export the model with a dynamic first axis"
            ),
        ),
        (
            "max_batch_size: 8",
            (SCALAR,),
            (
                f"{CONFIG}: max_batch_size is 8, but input 'x' is a scalar in the graph; "
                "set max_batch_size to 0, or export the model with a dynamic first axis"
            ),
        ),
    ],
)
def test_contradictions_show_both_sides(text: str, inputs: tuple[TensorSpec, ...], message: str) -> None:
    """The config's word, the graph's word, and the way out where there is one."""
    with pytest.raises(LoadFailed) as caught:
        _check(text, *inputs)
    assert caught.value.message == message


def test_an_output_without_batch_axis_contradicts_max_batch_size() -> None:
    """Outputs are cut into rows as well, whether or not the config lists them."""
    total = TensorSpec(name="total", datatype="FP32", shape=())
    with pytest.raises(LoadFailed, match="but output 'total' is a scalar in the graph"):
        _check("max_batch_size: 8", X, outputs=(Y, total))


@pytest.mark.parametrize("dims", ["", 'output { name: "y" dims: [ 3 ] }'])
def test_an_output_declared_as_one_row_may_be_batched(dims: str) -> None:
    """Exporters that look at one row write so; the dims behind it are held against the graph as ever."""
    one_row = TensorSpec(name="y", datatype="INT64", shape=(1, 3))
    _check(f"max_batch_size: 8 {dims}", X, outputs=(one_row,))
    with pytest.raises(LoadFailed, match=r"that is \[-1,4\], the graph says \[1,3\]"):
        _check('max_batch_size: 8 output { name: "y" dims: [ 4 ] }', X, outputs=(one_row,))


def test_weights_listed_as_inputs_are_not_served_unless_named() -> None:
    """Old exporters list every weight; the config can ask for one."""
    assert served_inputs(parse_config("", "m"), (X, WEIGHT)) == (X,)
    assert served_inputs(parse_config('input { name: "w" optional: true }', "m"), (X, WEIGHT)) == (X, WEIGHT)


def test_an_input_is_optional_where_graph_and_config_say_so() -> None:
    """The graph's default serves whoever leaves it out; a config that does not say optional demands it."""
    for text, optional in (
        ("", True),
        ('input { name: "w" optional: true }', True),
        ('input { name: "w" }', False),
    ):
        (_, weight), _ = tensors(parse_config(text, "m"), (X, WEIGHT), (Y,))
        assert weight.caller.optional is optional, text
        # Whoever opens the graph must know that it has a default.
        assert weight.graph.optional


def test_each_side_of_a_tensor_is_told() -> None:
    """What the config does not name is as the graph says."""
    text = """
        max_batch_size: 8
        input { name: "s" dims: 1 reshape { shape: [ ] } }
        output { name: "y" dims: [ 1, 3 ] reshape { shape: [ 3 ] } }
        """
    (x, s), (y,) = tensors(parse_config(text, "m"), (X, S), (Y,))
    assert (x.graph, x.caller, x.reshape) == (X, X, None)
    assert (s.graph.shape, s.caller.shape) == ((-1,), (-1, 1))
    assert (y.graph.shape, y.caller.shape) == ((-1, 3), (-1, 1, 3))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('input { name: "x" dims: [ -1, 2, 2 ] reshape { shape: [ -1, 4 ] } }', True),
        ('max_batch_size: 8 input { name: "x" dims: [ 2, 2 ] reshape { shape: [ 4 ] } }', False),
        ('output { name: "y" dims: [ -1, 3 ] }', True),
        ("", False),
    ],
)
def test_dims_or_a_reshape_of_every_axis_mean_no_batching(text: str, whole: bool) -> None:
    """The reshape is what the graph's rank is compared with."""
    assert states_full_shapes(parse_config(text, "m"), (X,), (Y,)) is whole


def test_an_empty_config_is_completed_from_graph_and_probe() -> None:
    """Dims leave out the batch axis, and a model that batches gets dynamic batching, as with Triton's auto-complete."""
    config = ModelConfig(name="m")
    full = complete_config(config, "m", (X, S, WEIGHT), (Y,), batch_axis=True, default_max_batch=64)
    assert str(full) == str(
        parse_config(
            """
            platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 64
            input { name: "x" data_type: TYPE_FP32 dims: 4 }
            input { name: "s" data_type: TYPE_STRING }
            output { name: "y" data_type: TYPE_INT64 dims: 3 }
            dynamic_batching { }
            instance_group { name: "m_0" kind: KIND_AUTO count: 1 }
            version_policy { latest { num_versions: 1 } }
            default_model_filename: "model.onnx"
            """,
            "m",
        )
    )
    assert config == ModelConfig(name="m")


def test_a_model_that_does_not_batch_keeps_its_first_axis() -> None:
    """No max_batch_size, no scheduler, full dims."""
    full = complete_config(ModelConfig(), "m", (X,), (Y,), batch_axis=False, default_max_batch=64)
    assert (full.max_batch_size, full.HasField("dynamic_batching"), list(full.input[0].dims)) == (0, False, [-1, 4])


def test_what_the_config_says_stays() -> None:
    """Its maximum, scheduler, groups, versions, labels and narrower dims; the rest is filled in around them."""
    text = """
        max_batch_size: 8
        input { name: "x" dims: 4 format: FORMAT_NONE }
        output { name: "y" label_filename: "labels.txt" }
        sequence_batching { }
        instance_group { kind: KIND_GPU gpus: [ 1 ] } instance_group { name: "other" count: 3 }
        version_policy { specific { versions: [ 2 ] } }
        default_model_filename: "net.onnx"
        parameters { key: "k" value { string_value: "v" } }
        """
    full = complete_config(parse_config(text, "m"), "m", (X,), (Y,), batch_axis=False, default_max_batch=64)
    assert full.max_batch_size == 8
    assert full.WhichOneof("scheduling_choice") == "sequence_batching"
    assert (full.output[0].label_filename, list(full.output[0].dims)) == ("labels.txt", [3])
    assert [(group.name, group.count) for group in full.instance_group] == [("m_0", 1), ("other", 3)]
    assert full.instance_group[0].kind == ModelInstanceGroup.KIND_GPU
    assert list(full.version_policy.specific.versions) == [2]
    assert full.default_model_filename == "net.onnx"
    assert full.parameters["k"].string_value == "v"


def test_the_graph_decides_the_order_of_tensors() -> None:
    """Whatever order the config lists them in."""
    text = 'input { name: "s" } input { name: "x" dims: [ 2, 4 ] }'
    full = complete_config(parse_config(text, "m"), "m", (X, S), (Y,), batch_axis=False, default_max_batch=1)
    assert [(each.name, list(each.dims)) for each in full.input] == [("x", [2, 4]), ("s", [-1])]


def test_one_row_at_most_needs_no_scheduler() -> None:
    """max_batch_size 1 leaves nothing to join."""
    full = complete_config(
        parse_config("max_batch_size: 1", "m"), "m", (X,), (Y,), batch_axis=True, default_max_batch=64
    )
    assert (full.max_batch_size, full.HasField("dynamic_batching")) == (1, False)


def test_scalars_and_undeclared_shapes_have_no_dims() -> None:
    """ModelConfig cannot tell them apart; the signature can."""
    for spec in (SCALAR, UNDECLARED):
        full = complete_config(ModelConfig(), "m", (spec,), (Y,), batch_axis=False, default_max_batch=1)
        assert list(full.input[0].dims) == []


def test_a_reshape_is_kept_as_it_stands() -> None:
    """Without dims of the graph mixed in."""
    text = 'max_batch_size: 8 input { name: "s" dims: 1 reshape { shape: [ ] } }'
    full = complete_config(parse_config(text, "m"), "m", (S,), (Y,), batch_axis=True, default_max_batch=1)
    assert (list(full.input[0].dims), full.input[0].HasField("reshape")) == ([1], True)
