"""Warm-up samples of config.pbtxt: what they become, which are refused and in which words."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf import text_format

from sardonyx_server.engine.loading.warmup import Sample, read_samples, warm_up
from sardonyx_server.errors import ExecutionFailed, LoadFailed
from sardonyx_server.repository.shapes import check_dims, configure_tensor
from sardonyx_wire.messages import ModelConfig
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.sessions import Arrays, Feeds, FunctionSession, spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = (spec("x", "FP32", (-1, 4)),)


def read(
    text: str, inputs: Sequence[TensorSpec] = FEATURES, *, folder: Path | None = None, batched: bool = True
) -> tuple[Sample, ...]:
    """The samples of a config.pbtxt."""
    config = text_format.Parse(text, ModelConfig())
    stated = {each.name: each for each in config.input}
    taken = [configure_tensor(stated.get(each.name), each, 8 if batched else 0) for each in inputs]
    return read_samples(config, taken, folder=folder, batched=batched)


def one(text: str, inputs: Sequence[TensorSpec] = FEATURES, **options: Any) -> NDArray[Any]:
    """The only input of the only sample."""
    (sample,) = read(text, inputs, **options)
    (values,) = sample.feeds.values()
    return values


def refused(text: str, inputs: Sequence[TensorSpec] = FEATURES, **options: Any) -> str:
    """Why the samples are refused."""
    with pytest.raises(LoadFailed) as caught:
        read(text, inputs, **options)
    return caught.value.message


def sample_text(source: str, *, datatype: str = "TYPE_FP32", dims: str = "[4]", batch_size: int = 1) -> str:
    """A sample named s of one input x."""
    return (
        f'model_warmup {{ name: "s" batch_size: {batch_size} inputs {{ key: "x" '
        f"value {{ data_type: {datatype} dims: {dims} {source} }} }} }}"
    )


def from_file(name: str, **options: Any) -> str:
    """A sample of a data file."""
    return sample_text(f'input_data_file: "{name}"', **options)


def put(folder: Path, name: str, data: bytes) -> Path:
    """Write a warm-up file."""
    path = folder / "warmup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_config_without_samples_has_none() -> None:
    """Then the probe is the warm-up."""
    assert read('name: "m"') == ()


def test_zeros_get_the_batch_axis() -> None:
    """The dims leave it out, as Triton's do."""
    values = one(sample_text("zero_data: true", batch_size=3))
    assert values.shape == (3, 4)
    assert values.dtype == np.float32
    assert not values.any()


def test_random_data_are_repeated_along_the_batch_axis() -> None:
    """One request's worth is made, and repeated batch_size times."""
    values = one(sample_text("random_data: true", batch_size=2))
    assert values.shape == (2, 4)
    assert np.array_equal(values[0], values[1])
    assert len(set(values[0].tolist())) == 4


def test_dims_may_name_the_batch_axis_themselves() -> None:
    """As many dims as the graph has axes are taken as they are."""
    assert one(sample_text("zero_data: true", dims="[2,4]")).shape == (2, 4)
    assert one(sample_text("zero_data: true", dims="[2,4]", batch_size=3)).shape == (6, 4)


def test_a_model_without_batch_axis_gets_the_dims_as_they_are() -> None:
    """Nothing is added."""
    inputs = (spec("x", "FP32", (1, 4)),)
    assert one(sample_text("zero_data: true", dims="[1,4]"), inputs, batched=False).shape == (1, 4)


def test_a_scalar_has_no_dims() -> None:
    """An empty list of dims is a scalar."""
    assert one(sample_text("zero_data: true", dims="[]"), (spec("x", "FP32", ()),), batched=False).shape == ()


def test_an_input_of_undeclared_shape_takes_any_dims() -> None:
    """There is nothing to compare with."""
    assert one(sample_text("zero_data: true", dims="[7,2]"), (spec("x", shape=None),), batched=False).shape == (7, 2)


def test_a_batch_size_of_zero_is_one() -> None:
    """Triton skips such a sample; running it does no harm."""
    assert one(sample_text("zero_data: true", batch_size=0)).shape == (1, 4)


def test_strings_are_empty_or_random() -> None:
    """BYTES inputs are objects of `str`."""
    inputs = (spec("x", "BYTES", (-1, 2)),)
    assert one(sample_text("zero_data: true", datatype="TYPE_STRING", dims="[2]"), inputs).tolist() == [["", ""]]
    values = one(sample_text("random_data: true", datatype="TYPE_STRING", dims="[2]"), inputs)
    assert all(isinstance(word, str) and word for word in values.ravel())


def test_bf16_is_its_bits() -> None:
    """The server's own form."""
    values = one(sample_text("random_data: true", datatype="TYPE_BF16"), (spec("x", "BF16"),))
    assert values.dtype == np.uint16


def test_a_reshape_of_the_config_is_applied() -> None:
    """Dims are what callers see; the graph sees the reshaped form."""
    text = 'input { name: "x" dims: [2,2] reshape { shape: [4] } } ' + sample_text("zero_data: true", dims="[2,2]")
    assert one(text).shape == (1, 4)
    assert one(text.replace("[2,2] zero", "[3,2,2] zero")).shape == (3, 4)


def test_a_reshape_takes_open_sizes_from_the_sample() -> None:
    """Also two of them."""
    x = spec("x", "FP32", (-1, -1, 2, -1))
    text = 'input { name: "x" dims: [-1,1,-1] reshape { shape: [-1,2,-1] } } '
    with pytest.raises(LoadFailed):
        check_dims("x", text_format.Parse(text, ModelConfig()).input[0], x, 8)
    text = 'input { name: "x" dims: [-1,2,1,-1] reshape { shape: [-1,2,-1] } } '
    text += sample_text("zero_data: true", dims="[5,2,1,7]", batch_size=3)
    assert one(text, (x,)).shape == (3, 5, 2, 7)


def test_dims_that_narrow_the_graph_hold_for_samples_too() -> None:
    """As for requests."""
    text = 'input { name: "x" dims: [4] } ' + sample_text("zero_data: true", dims="[5]")
    assert refused(text, (spec("x", "FP32", (-1, -1)),)) == "warm-up sample 's': input 'x': expected [-1,4], got [1,5]"


def test_optional_inputs_may_be_missing() -> None:
    """As in a request."""
    (sample,) = read(sample_text("zero_data: true"), (*FEATURES, spec("mask", optional=True)))
    assert list(sample.feeds) == ["x"]


def test_samples_keep_their_order_names_and_counts() -> None:
    """A count of 0 is one run; a sample without name is numbered."""
    body = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }'
    samples = read(f'model_warmup {{ name: "first" {body} }} model_warmup {{ count: 5 {body} }}')
    assert [(each.name, each.runs) for each in samples] == [("first", 1), ("#2", 5)]


# --- data files


def test_a_file_holds_raw_little_endian_data(tmp_path: Path) -> None:
    """The bytes of a request."""
    put(tmp_path, "x.bin", struct.pack("<4f", 1, 2, 3, 4))
    assert one(from_file("x.bin", batch_size=2), folder=tmp_path).tolist() == [[1, 2, 3, 4]] * 2


def test_a_file_of_strings_holds_length_prefixes(tmp_path: Path) -> None:
    """BYTES travel as length and bytes for each element, and become text."""
    put(tmp_path, "words", struct.pack("<I", 3) + "aé".encode() + struct.pack("<I", 0))
    values = one(
        from_file("words", datatype="TYPE_STRING", dims="[2]"), (spec("x", "BYTES", (-1, 2)),), folder=tmp_path
    )
    assert values.tolist() == [["aé", ""]]


def test_a_file_may_lie_in_a_subfolder(tmp_path: Path) -> None:
    """Names are paths below the warmup folder."""
    put(tmp_path, "a/b.bin", bytes(16))
    assert one(from_file("a/b.bin"), folder=tmp_path).shape == (1, 4)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """Mounted config maps are made of such links."""
    put(tmp_path, "..data.bin", bytes(16))
    (tmp_path / "warmup" / "x.bin").symlink_to("..data.bin")
    assert one(from_file("x.bin"), folder=tmp_path).shape == (1, 4)


@pytest.mark.parametrize(
    ("size", "got"),
    [(0, "0"), (12, "12"), (17, "more"), (1000, "more")],
)
def test_a_file_of_another_size_is_refused(tmp_path: Path, size: int, got: str) -> None:
    """The message says what was expected."""
    put(tmp_path, "x.bin", bytes(size))
    assert (
        refused(from_file("x.bin"), folder=tmp_path)
        == f"warm-up sample 's': input 'x': file 'x.bin': expected 16 bytes for FP32 [4], got {got}"
    )


@pytest.mark.parametrize("name", ["../x.bin", "/etc/hostname", "a/../../x.bin", "", ".."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Only files of the warmup folder are read."""
    (tmp_path / "x.bin").write_bytes(bytes(16))
    assert (
        refused(from_file(name), folder=tmp_path)
        == f"warm-up sample 's': input 'x': file '{name}': must be the name of a file in the model's warmup folder"
    )


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    """It would raise inside the operating system's calls."""
    assert "must be the name of a file" in refused(from_file("a\\000b"), folder=tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Links are resolved before they are judged."""
    (tmp_path / "secret").write_bytes(bytes(16))
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "x.bin").symlink_to(tmp_path / "secret")
    assert (
        refused(from_file("x.bin"), folder=tmp_path)
        == "warm-up sample 's': input 'x': file 'x.bin': leads out of the model's warmup folder"
    )


def test_a_missing_file_is_refused_without_its_path(tmp_path: Path) -> None:
    """Nothing of the machine is in the message."""
    message = refused(from_file("x.bin"), folder=tmp_path)
    assert message == "warm-up sample 's': input 'x': file 'x.bin': cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("folder", "cannot be read (Is a directory)"),
        ("fifo", "is not a regular file"),
        ("socket", "cannot be read ("),
        ("loop", "cannot be read ("),
    ],
)
def test_what_is_no_regular_file_is_refused(
    tmp_path: Path, kind: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them blocks the load."""
    (tmp_path / "warmup").mkdir()
    path = tmp_path / "warmup" / "x.bin"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        # A socket's path is short by law: bind it by its name alone.
        monkeypatch.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    assert refused(from_file("x.bin"), folder=tmp_path).startswith(
        f"warm-up sample 's': input 'x': file 'x.bin': {reason}"
    )


def test_a_model_without_folder_has_no_files() -> None:
    """A single .onnx file stands alone."""
    assert (
        refused(from_file("x.bin"))
        == "warm-up sample 's': input 'x': file 'x.bin': the model has no folder that could hold it"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [(struct.pack("<I", 9) + b"ab", ""), (struct.pack("<I", 1) + b"\xff" + struct.pack("<I", 0), "UTF-8")],
)
def test_a_broken_file_of_strings_is_refused(tmp_path: Path, data: bytes, text: str) -> None:
    """The same rules as for a request."""
    put(tmp_path, "words", data)
    message = refused(
        from_file("words", datatype="TYPE_STRING", dims="[2]"), (spec("x", "BYTES", (-1, 2)),), folder=tmp_path
    )
    assert message.startswith("warm-up sample 's': input 'x': ")
    assert text in message


# --- samples that do not suit the model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            sample_text("zero_data: true", datatype="TYPE_FP64"),
            "warm-up sample 's': input 'x': expected data_type of FP32, got FP64",
        ),
        (
            sample_text("zero_data: true", datatype="TYPE_INVALID"),
            "warm-up sample 's': input 'x': expected data_type of FP32, got TYPE_INVALID",
        ),
        (
            sample_text("zero_data: true", datatype="99"),
            "warm-up sample 's': input 'x': expected data_type of FP32, got 99",
        ),
        (
            sample_text("zero_data: true", dims="[5]"),
            "warm-up sample 's': input 'x': expected [-1,4], got [1,5]",
        ),
        (
            sample_text("zero_data: true", dims="[1,2,4]"),
            "warm-up sample 's': input 'x': expected [-1,4], got [1,2,4]",
        ),
        (
            sample_text(""),
            "warm-up sample 's': input 'x': no data; give one of zero_data, random_data and input_data_file",
        ),
        ('model_warmup { name: "s" }', "warm-up sample 's': input 'x' is missing"),
        (
            'model_warmup { name: "s" inputs { key: "z" value { zero_data: true } } }',
            "warm-up sample 's': the model has no input 'z'; it has 'x'",
        ),
        (
            sample_text("zero_data: true", batch_size=4_000_000_000),
            "warm-up sample 's': input 'x': batch_size 4000000000 makes more than 268,435,456 elements; lower it",
        ),
    ],
)
def test_a_sample_that_does_not_suit_the_model_is_refused(text: str, message: str) -> None:
    """Sample, input, what was expected and what came."""
    assert refused(text) == message


def test_samples_take_a_gibibyte_together_at_most() -> None:
    """They are in memory at once, and a few bytes of a config say how large they are. Zeros take no memory here."""
    half = sample_text("zero_data: true", dims=f"[{2**25},4]")
    said = "the samples of this model have more than 1,073,741,824 bytes together; give fewer"
    message = f"warm-up sample 's': input 'x': {said}"
    assert len(read(half + half)) == 2
    assert refused(half + half + sample_text("zero_data: true")) == message
    text = sample_text("zero_data: true", datatype="TYPE_STRING", dims=f"[{2**26},4]")
    assert refused(text, (spec("x", "BYTES", (-1, 4)),)) == message


@pytest.mark.parametrize("dims", ["[-1]", "[4611686018427387904,4]", "[100000,100000]"])
def test_impossible_dims_are_refused_before_anything_is_made(dims: str) -> None:
    """No overflow, no allocation."""
    assert refused(sample_text("zero_data: true", dims=dims)).startswith("warm-up sample 's': input 'x': ")


def test_a_batch_of_a_model_that_is_not_batched_is_refused() -> None:
    """It could only run once for each row."""
    assert (
        refused(sample_text("zero_data: true", batch_size=2), batched=False)
        == "warm-up sample 's': batch_size 2 for a model that is not batched; set it to 1"
    )


# --- running


def test_every_sample_runs_as_often_as_it_says() -> None:
    """In the order of the config."""
    session = FunctionSession(FEATURES, [spec("y")], lambda feeds: [feeds["x"]])
    feeds = [{"x": np.zeros((rows, 4), np.float32)} for rows in (1, 2)]
    warm_up(session, [Sample(name="a", runs=2, feeds=feeds[0]), Sample(name="b", runs=1, feeds=feeds[1])])
    assert session.batches == [1, 1, 2]


def test_a_sample_that_fails_names_itself() -> None:
    """The operator learns which sample, and what the model said."""

    def answer(_: Feeds) -> Arrays:
        raise ExecutionFailed("index out of range")

    session = FunctionSession(FEATURES, [spec("y")], answer)
    with pytest.raises(LoadFailed) as caught:
        warm_up(session, read(sample_text("zero_data: true")))
    assert caught.value.message == "warm-up sample 's' failed: index out of range"
