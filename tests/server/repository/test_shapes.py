"""Dims and reshape of a config: held against each other and the graph, and applied to what callers send."""

from __future__ import annotations

import math

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.shapes import Reshape, check_batch_axis, check_dims, configure_tensor, graph_dims
from sardonyx_wire.messages import ModelInput
from sardonyx_wire.tensors import TensorSpec


def spec(*shape: int, names: tuple[str, ...] = ()) -> TensorSpec:
    """Input x of the graph."""
    return TensorSpec(name="x", datatype="FP32", shape=shape, dim_names=names)


UNDECLARED = TensorSpec(name="x", datatype="FP32", shape=None)


def stated(text: str) -> ModelInput:
    """Input x of a config.pbtxt."""
    return text_format.Parse('name: "x" ' + text, ModelInput())


def refused(text: str, of: TensorSpec, max_batch_size: int = 0) -> str:
    """Why it is."""
    with pytest.raises(LoadFailed) as caught:
        check_dims("input 'x'", stated(text), of, max_batch_size)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "of", "max_batch_size"),
    [
        ("", spec(-1, 4), 0),
        ("dims: [ 7, 4 ]", spec(-1, 4), 0),
        ("dims: [ 224, 224 ]", spec(-1, -1, -1), 8),
        # Triton's own example of open sizes.
        ("dims: [ 2, 4, -1, 6 ] reshape { shape: [ 8, -1, 1, 6 ] }", spec(-1, 8, -1, 1, 6), 8),
        ("dims: [ 1 ] reshape { shape: [ ] }", spec(-1), 8),
        ("dims: [ 1 ] reshape { shape: [ ] }", spec(), 0),
        ("dims: [ -1, 1 ] reshape { shape: [ -1 ] }", spec(-1, -1), 8),
        ("dims: [ -1 ] reshape { shape: [ -1, 1, 1 ] }", spec(-1, -1, 1, 1), 8),
        ("dims: [ 4 ] reshape { shape: [ 2, 2 ] }", UNDECLARED, 0),
    ],
)
def test_what_agrees_passes(text: str, of: TensorSpec, max_batch_size: int) -> None:
    """A reshape may have other ranks than the dims, or none."""
    check_dims("input 'x'", stated(text), of, max_batch_size)


@pytest.mark.parametrize(
    ("text", "of", "max_batch_size", "message"),
    [
        (
            "dims: [ 2 ] reshape { shape: [ ] }",
            spec(-1),
            8,
            "input 'x' has dims [2] and reshape [], which hold different numbers of elements",
        ),
        (
            "dims: [ 4, -1 ] reshape { shape: [ 2, -1, 2 ] }",
            spec(-1, 2, -1, 2),
            8,
            (
                "input 'x' has dims [4,-1] and reshape [2,-1,2], which hold different numbers of elements, counted "
                "from each -1 to the next"
            ),
        ),
        (
            "dims: [ -1, 4 ] reshape { shape: [ -1, -1 ] }",
            spec(-1, -1, -1),
            8,
            (
                "input 'x' has dims [-1,4] and reshape [-1,-1], which leave different numbers of axes open; write -1 "
                "as often in one as in the other"
            ),
        ),
        (
            "dims: [ 4 ] reshape { shape: [ 0 ] }",
            spec(-1, 4),
            8,
            "input 'x' has reshape [0], expected sizes from 1, or -1 for any size",
        ),
        (
            "dims: [ -2 ]",
            spec(-1, 4),
            8,
            "input 'x' has dims [-2], expected sizes from 1, or -1 for any size",
        ),
        (
            "dims: [ 4 ] reshape { shape: [ 2, 2 ] }",
            spec(-1, 4),
            8,
            "input 'x' has reshape [2,2] and max_batch_size 8, that is [-1,2,2], the graph says [-1,4]",
        ),
        (
            "dims: [ 2, 2 ] reshape { shape: [ 4 ] }",
            spec(-1, 4),
            0,
            "input 'x' has reshape [4], the graph says [-1,4]; set max_batch_size, or write reshape [-1,4]",
        ),
        ("dims: [ 1 ] reshape { shape: [ ] }", spec(4), 0, "input 'x' has reshape [], the graph says [4]"),
    ],
)
def test_contradictions_show_both_sides(text: str, of: TensorSpec, max_batch_size: int, message: str) -> None:
    """Dims against the reshape, then the graph's side against the graph."""
    assert refused(text, of, max_batch_size) == message


def test_a_first_axis_must_be_open_to_be_the_batch() -> None:
    """An undeclared shape says nothing."""
    check_batch_axis("config", "input", spec(-1, 4), 8)
    check_batch_axis("config", "input", UNDECLARED, 8)
    with pytest.raises(LoadFailed, match=r"has a first axis of fixed size, \[2,4\] in the graph"):
        check_batch_axis("config", "input", spec(2, 4), 8)


def test_dims_narrow_both_sides() -> None:
    """Callers must send what the operator says; the probe tries that and nothing else."""
    found = configure_tensor(stated("dims: [ 3, -1 ]"), spec(-1, -1, -1, names=("N", "c", "w")), 8)
    assert found.graph == found.caller == spec(-1, 3, -1, names=("N", "c", "w"))
    assert found.reshape is None
    assert configure_tensor(stated("dims: [ 2, 3 ]"), UNDECLARED, 0).caller.shape == (2, 3)


def test_silence_leaves_the_graph_as_it_is() -> None:
    """No word at all, or none about dims."""
    for word in (None, stated("data_type: TYPE_FP32")):
        found = configure_tensor(word, spec(-1, 4), 8)
        assert (found.graph, found.caller, found.reshape) == (spec(-1, 4), spec(-1, 4), None)


def test_a_reshape_has_two_sides() -> None:
    """The batch axis stays in front of both; the graph's names are not the callers'."""
    found = configure_tensor(stated("dims: [ 1, -1 ] reshape { shape: [ -1 ] }"), spec(-1, -1, names=("N", "t")), 8)
    assert found.graph == spec(-1, -1, names=("N", "t"))
    assert found.caller == spec(-1, 1, -1)
    assert found.reshape == Reshape(callers=(1, -1), graphs=(-1,))
    assert graph_dims(stated("dims: [ 1, -1 ] reshape { shape: [ -1 ] }")) == (-1,)


def test_without_a_batch_axis_the_reshape_is_of_the_whole_tensor() -> None:
    """A scalar for callers that can send none."""
    found = configure_tensor(stated("dims: 1 reshape { shape: [ ] }"), spec(), 0)
    assert (found.graph.shape, found.caller.shape) == ((), (1,))


def test_sizes_go_to_the_open_axes_in_order() -> None:
    """Both ways; what does not match has no other form."""
    reshape = Reshape(callers=(2, 4, -1, 6, -1), graphs=(8, -1, 1, 6, -1))
    assert reshape.for_graph((2, 4, 5, 6, 7)) == (8, 5, 1, 6, 7)
    assert reshape.for_caller((8, 5, 1, 6, 7)) == (2, 4, 5, 6, 7)
    assert reshape.for_graph((2, 4, 0, 6, 7)) == (8, 0, 1, 6, 7)
    assert reshape.for_graph((2, 4, 5, 6)) is None
    assert reshape.for_caller((8, 5, 2, 6, 7)) is None


shapes = st.lists(st.sampled_from([-1, 1, 2, 3, 4, 6]), max_size=4)


@given(dims=shapes, graph=shapes, sizes=st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_a_reshape_that_passes_keeps_every_element(dims: list[int], graph: list[int], sizes: list[int]) -> None:
    """Whatever sizes the open axes have: equally many elements, and the way back leads back."""
    text = f"dims: {dims} reshape {{ shape: {graph} }}"
    try:
        check_dims("x", stated(text), UNDECLARED, 0)
    except LoadFailed:
        return
    reshape = Reshape(callers=tuple(dims), graphs=tuple(graph))
    given_sizes = iter(sizes)
    sent = tuple(next(given_sizes) if size == -1 else size for size in dims)
    got = reshape.for_graph(sent)
    assert got is not None
    assert math.prod(got) == math.prod(sent)
    assert reshape.for_caller(got) == sent
