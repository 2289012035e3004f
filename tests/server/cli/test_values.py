"""Values on the command line: JSON, text and files become arrays of the model's datatypes, or a clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sardonyx_server.cli.values import parse_inputs, split_argument, to_json
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.tensors import TensorSpec

TOO_LARGE = "does not fit {}, whose largest number is {}; write Infinity or -Infinity if that is meant"


def spec(datatype: str, *shape: int, name: str = "x", optional: bool = False) -> TensorSpec:
    """A tensor of a model."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, optional=optional)


def parse(value: str, tensor: TensorSpec) -> np.ndarray:
    """The array that ``x=value`` gives."""
    return parse_inputs([f"x={value}"], [tensor], model="m")["x"]


@pytest.mark.parametrize(
    ("value", "tensor", "expected"),
    [
        ("[[5.1, 3]]", spec("FP32", -1, 2), np.array([[5.1, 3]], np.float32)),
        ("[5.1, 3]", spec("FP32", -1, 2), np.array([[5.1, 3]], np.float32)),
        ("7", spec("INT64", -1, 1), np.array([[7]])),
        ("7", spec("INT64"), np.array(7)),
        ("[1, 2]", spec("FP64", -1, 1), np.array([[1.0, 2.0]])),
        ("18446744073709551615", spec("UINT64", 1), np.array([2**64 - 1], np.uint64)),
        ("[true, 0]", spec("BOOL", -1), np.array([True, False])),
        ("[NaN, -Infinity]", spec("FP32", 2), np.array([np.nan, -np.inf], np.float32)),
        ("[]", spec("FP32", -1), np.zeros(0, np.float32)),
        ("[1.5]", spec("BF16", 1), np.array([0x3FC0], np.uint16)),
        ("[1, 2]", spec("FP16", 2), np.array([1, 2], np.float16)),
        ("@zeros", spec("FP32", -1, 3), np.zeros((1, 3), np.float32)),
        ("@zeros[2,3,4]", spec("FP32", -1, 3, -1), np.zeros((2, 3, 4), np.float32)),
        ("@zeros[]", spec("INT64"), np.zeros((), np.int64)),
    ],
)
def test_numbers_become_the_datatype_the_model_asks_for(value: str, tensor: TensorSpec, expected: np.ndarray) -> None:
    """A batch axis that was left out is added; a bare number fills a shape of one element."""
    array = parse(value, tensor)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hello", ["hello"]),
        ("a=b", ["a=b"]),
        ("5", ["5"]),
        ("null", ["null"]),
        ('"[quoted"', ["[quoted"]),
        ('["a", "ü"]', ["a", "ü"]),
        ("", [""]),
    ],
)
def test_strings_need_quotes_only_in_a_list(value: str, expected: list[str]) -> None:
    """What a model takes as a string is taken as it was typed."""
    array = parse(value, spec("BYTES", -1))
    assert array.dtype == object
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("value", "tensor", "message"),
    [
        ("[1", spec("FP32", -1), "input 'x': '[1' is not JSON: write a number or a nested list"),
        ("abc", spec("FP32", -1), "input 'x': 'abc' is not JSON: write a number or a nested list"),
        ('["a"]', spec("FP32", -1), "input 'x': expected numbers (FP32), got 'a'"),
        ("null", spec("FP32", -1), "input 'x': expected numbers (FP32), got None"),
        ("[1.5]", spec("INT64", -1), "input 'x': expected INT64, got fractions"),
        ("[300]", spec("UINT8", -1), "input 'x': expected whole numbers from 0 to 255 (UINT8), got 300"),
        ("[-1]", spec("UINT8", -1), "input 'x': expected whole numbers from 0 to 255 (UINT8), got -1"),
        ("[2]", spec("BOOL", -1), "input 'x': expected true or false (BOOL), got 2"),
        ("[1]", spec("BYTES", -1), "input 'x': expected strings (BYTES), got 1"),
        (
            "[[1, 2], [3]]",
            spec("FP32", -1, 2),
            "input 'x': the lists are ragged: expected the same length everywhere on one level",
        ),
        (
            "[a]",
            spec("BYTES", -1),
            "input 'x': '[a]' is not JSON: quote strings in a list, or a string that begins with a bracket",
        ),
        ("[1e50]", spec("FP32", -1), f"input 'x': 1e+50 {TOO_LARGE}".format("FP32", "3.4028235e+38")),
        ("[0, -7e4]", spec("FP16", -1), f"input 'x': -70000.0 {TOO_LARGE}".format("FP16", "65504")),
        ("[3.4e38]", spec("BF16", -1), f"input 'x': 3.4e+38 {TOO_LARGE}".format("BF16", "3.3895314e+38")),
        ("[1e400]", spec("FP64", -1), f"input 'x': 1e400 {TOO_LARGE}".format("FP64", "1.7976931348623157e+308")),
        ("[1e400]", spec("INT64", -1), "input 'x': expected INT64, got fractions"),
        (
            f"[1{'0' * 400}]",
            spec("FP32", -1),
            f"input 'x': a whole number of more than 308 digits {TOO_LARGE}".format("FP32", "3.4028235e+38"),
        ),
        ("@x.txt", spec("FP32", -1), "input 'x': expected a file that ends in .npy or .json, got 'x.txt'"),
        ("@none.npy", spec("FP32", -1), "input 'x': cannot read 'none.npy': No such file or directory"),
        (
            "@~nobody-at-all/x.npy",
            spec("FP32"),
            "input 'x': cannot read '~nobody-at-all/x.npy': No such file or directory",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_on_one_line(value: str, tensor: TensorSpec, message: str) -> None:
    """The line names the input, what is expected and what came."""
    with pytest.raises(InvalidRequest) as caught:
        parse(value, tensor)
    assert caught.value.message == message


def test_lists_that_are_nested_without_end_are_no_values() -> None:
    """Python's own parser gives up in another way than where it finds a mistake."""
    with pytest.raises(InvalidRequest, match=r" is not JSON: write a number or a nested list$"):
        parse("[" * 100_000, spec("FP32", -1))


def test_inputs_are_checked_against_the_signature() -> None:
    """Unknown, repeated and missing inputs are found before anything is sent."""
    specs = [spec("FP32", -1, 4, name="x"), spec("INT64", -1, name="y", optional=True)]
    takes = "it takes: x FP32 [-1,4], y INT64 [-1]"
    for arguments, message in (
        (["z=1"], f"model 'm' has no input 'z'; {takes}"),
        (["y=1"], f"model 'm' needs input 'x'; {takes}"),
        (["x=@zeros", "x=@zeros"], "input 'x' is given twice"),
        (["x"], "expected name=value, name=@file.npy or name=@file.json, got 'x'"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            parse_inputs(arguments, specs, model="m")
        assert caught.value.message == message
    assert list(parse_inputs(["x=@zeros"], specs, model="m")) == ["x"]


def test_the_name_ends_at_the_first_equals_sign() -> None:
    """Names of tensors hold colons and slashes; values hold equals signs."""
    assert split_argument("a:0/b=c=d") == ("a:0/b", "c=d")


def test_a_npy_file_is_read_and_converted(tmp_path: Path) -> None:
    """An FP64 file serves an FP32 model; integers are taken where they fit."""
    np.save(tmp_path / "rows.npy", np.array([[1.5, 2.5]]))
    array = parse(f"@{tmp_path}/rows.npy", spec("FP32", -1, 2))
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, 2.5]]
    np.save(tmp_path / "text.npy", np.array(["a", "ü"]))
    assert parse(f"@{tmp_path}/text.npy", spec("BYTES", -1)).tolist() == ["a", "ü"]


def test_a_npy_file_that_holds_no_array_is_refused(tmp_path: Path) -> None:
    """An empty one, or several arrays under a wrong name."""
    path = tmp_path / "x.npy"
    path.touch()
    with pytest.raises(InvalidRequest, match=r"^input 'x': '.*x\.npy' cannot be used: No data left in file$"):
        parse(f"@{path}", spec("FP32", -1))
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))
    with pytest.raises(InvalidRequest, match=r"cannot be used: it holds several arrays, as \.npz files do$"):
        parse(f"@{path}", spec("FP32", -1))


def test_a_npy_file_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    """Reading one would run what its author wishes."""
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidRequest, match="cannot be used: Object arrays cannot be loaded when allow_pickle=False"):
        parse(f"@{path}", spec("FP32", -1))


def test_a_json_file_is_read(tmp_path: Path) -> None:
    """As if its text had been typed."""
    (tmp_path / "rows.json").write_text(json.dumps([[1, 2]]))
    assert parse(f"@{tmp_path}/rows.json", spec("INT32", -1, 2)).tolist() == [[1, 2]]


def test_answers_become_plain_json_values() -> None:
    """Strings as text, numbers as numbers, in the tensor's shape."""
    assert to_json(np.array([["a", "b"]], dtype=object), "BYTES") == [["a", "b"]]
    assert to_json(np.array([b"\xff"], dtype=object), "BYTES") == ["\\xff"]
    assert to_json(np.array([0x3FC0], np.uint16), "BF16") == [1.5]
    assert to_json(np.array([[1, 2]]), "INT64") == [[1, 2]]


def test_fractions_are_shown_in_as_many_digits_as_they_have() -> None:
    """What is read back as FP32 is the same number; as doubles they would have seventeen digits."""
    values = np.array([[0.1, 1 / 3], [1e-45, -3.4028235e38]], np.float32)
    shown = to_json(values, "FP32")
    assert str(shown) == "[[0.1, 0.33333334], [1e-45, -3.4028235e+38]]"
    assert np.array_equal(np.array(shown, np.float32), values)
    assert str(to_json(np.array([0.1, np.inf, np.nan], np.float16), "FP16")) == "[0.1, inf, nan]"
    assert to_json(np.array([1 / 3]), "FP64") == [1 / 3]
