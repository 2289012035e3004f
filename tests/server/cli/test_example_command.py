"""The command to try next: it fits the model, survives a shell, and reaches the server."""

from __future__ import annotations

import json
import shlex

from sardonyx_server.cli.example_command import address_for_clients, example_argument, example_command
from sardonyx_server.cli.views import ModelView
from sardonyx_wire.tensors import TensorSpec
from tests.server.cli.doubles import BROKEN, IRIS, MAGIKA


def test_the_command_is_made_of_a_loaded_model() -> None:
    """The one whose input fits on a line."""
    command = example_command([BROKEN, MAGIKA, IRIS], program=["/opt/sardonyx"], address="127.0.0.1:8001")
    assert command == "/opt/sardonyx infer iris 'X=[[1.0,2.0,3.0,4.0]]'"


def test_the_command_names_the_server_where_it_is_not_the_default() -> None:
    """Otherwise it would ask another one."""
    command = example_command([IRIS], program=["/opt/my tools/sardonyx"], address="127.0.0.1:9000")
    assert command == "'/opt/my tools/sardonyx' infer iris 'X=[[1.0,2.0,3.0,4.0]]' --url 127.0.0.1:9000"


def test_there_is_no_command_where_no_model_is_ready() -> None:
    """A command that fails would be worse than none."""
    assert example_command([BROKEN], program=["sardonyx"], address="127.0.0.1:8001") is None


def test_odd_names_survive_the_shell() -> None:
    """Names hold spaces, quotes and dollar signs."""
    spec = TensorSpec(name="a b'$x", datatype="INT64", shape=(1,))
    odd = ModelView(name="my model", version=1, state="READY", inputs=(spec,))
    command = example_command([odd], program=["sardonyx"], address="127.0.0.1:8001")
    assert command is not None
    assert shlex.split(command) == ["sardonyx", "infer", "my model", "a b'$x=[1]"]


def test_a_sample_has_the_declared_shape_and_datatype() -> None:
    """1 for each dynamic axis; zeros where it would not fit on a line."""
    for datatype, shape, expected in (
        ("BYTES", (-1, 2), [["abc", "abc"]]),
        ("BOOL", (2,), [True, True]),
        ("INT8", (1, 2), [[1, 2]]),
        ("FP32", (), 1.0),
    ):
        name, value = example_argument(TensorSpec(name="x", datatype=datatype, shape=shape)).split("=", 1)
        assert (name, json.loads(value)) == ("x", expected)
    assert example_argument(TensorSpec(name="x", datatype="FP32", shape=(-1, 3, 224, 224))) == "x=@zeros"


def test_an_image_of_any_size_is_sent_in_one_that_was_seen_to_work() -> None:
    """A picture of one point is too small for a convolution: the command would fail."""
    image = TensorSpec(name="x", datatype="FP32", shape=(-1, 3, -1, -1))
    model = ModelView(name="m", version=1, state="READY", inputs=(image,), tried_shapes={"x": (1, 3, 224, 224)})
    command = example_command([model], program=["sardonyx"], address="127.0.0.1:8001")
    assert command == "sardonyx infer m 'x=@zeros[1,3,224,224]'"
    short = ModelView(name="m", version=1, state="READY", inputs=(image,), tried_shapes={"x": (1, 3, 2, 1)})
    command = example_command([short], program=["sardonyx"], address="127.0.0.1:8001")
    assert command == "sardonyx infer m 'x=[[[[1.0],[2.0]],[[3.0],[4.0]],[[5.0],[6.0]]]]'"


def test_tokens_of_any_number_are_sent_one_at_a_time() -> None:
    """That works, and a mask of zeros does not."""
    tokens = tuple(TensorSpec(name=name, datatype="INT64", shape=(-1, -1)) for name in ("ids", "mask"))
    tried = {"ids": (1, 64), "mask": (1, 64)}
    model = ModelView(name="m", version=1, state="READY", inputs=tokens, tried_shapes=tried)
    command = example_command([model], program=["sardonyx"], address="127.0.0.1:8001")
    assert command == "sardonyx infer m 'ids=[[1]]' 'mask=[[1]]'"


def test_optional_inputs_are_left_out() -> None:
    """They need not be sent."""
    inputs = (
        TensorSpec(name="x", datatype="INT64", shape=(1,)),
        TensorSpec(name="y", datatype="INT64", shape=(1,), optional=True),
    )
    model = ModelView(name="m", version=1, state="READY", inputs=inputs)
    assert example_command([model], program=["sardonyx"], address="127.0.0.1:8001") == "sardonyx infer m 'x=[1]'"


def test_a_client_reaches_a_server_that_listens_everywhere_by_the_loopback_address() -> None:
    """0.0.0.0 is no address to connect to."""
    assert address_for_clients("0.0.0.0", 1) == "127.0.0.1:1"  # noqa: S104  # not listened on
    assert address_for_clients("[::]", 1) == "[::1]:1"
    assert address_for_clients("fd00::1", 1) == "[fd00::1]:1"
    assert address_for_clients("myhost", 1) == "myhost:1"
