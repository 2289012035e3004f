"""Tensors between the wire and numpy: every datatype there and back, and every way in which data can be wrong."""

from __future__ import annotations

import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import InferTensorContents
from sardonyx_wire.tensors import (
    MAX_ELEMENTS,
    TensorSpec,
    WireError,
    decode_bytes_elements,
    decode_raw,
    decode_typed,
    decode_utf8,
    describe_shape,
    element_count,
    encode_bytes_elements,
    encode_raw,
    object_array,
)

NUMBERS = sorted(DATATYPES.keys() - {"BYTES"})
SHAPES = npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


class TestTensorSpec:
    """How a tensor is shown to people."""

    @pytest.mark.parametrize(
        ("shape", "text"),
        [((-1, 4), "FP32 [-1,4]"), ((), "FP32 []"), (None, "FP32 of any shape"), ((1,) * 32, f"FP32 [{'1,' * 31}1]")],
    )
    def test_describe_gives_datatype_and_shape(self, shape: tuple[int, ...] | None, text: str) -> None:
        """A scalar and an undeclared shape look different."""
        assert TensorSpec(name="x", datatype="FP32", shape=shape).describe() == text

    def test_a_shape_with_too_many_axes_is_cut(self) -> None:
        """It came from a caller, and goes into a message."""
        assert describe_shape([7] * 10_000) == "[7,7,7,7,...]"


class TestElementCount:
    """Shapes are judged in Python integers, before numpy sees them."""

    @given(shape=st.lists(st.integers(0, 9), max_size=8))
    def test_counts_as_numpy_does(self, shape: list[int]) -> None:
        """For shapes that are possible."""
        assert element_count(shape) == int(np.prod(shape, dtype=object))

    @pytest.mark.parametrize(
        ("shape", "text"),
        [
            ([-1, 4], "shape [-1,4] has a negative size"),
            ([-2, -2], "shape [-2,-2] has a negative size"),
            ([2**62, 4], "shape [4611686018427387904,4] has more than 2147483647 elements"),
            ([2**63 - 1], "shape [9223372036854775807] has more than 2147483647 elements"),
            ([2**16, 2**16], "shape [65536,65536] has more than 2147483647 elements"),
            ([0, 2**62], "shape [0,4611686018427387904] has more than 2147483647 elements"),
            ([1] * 33, "shape [1,1,1,1,...] has 33 axes, more than 32"),
            ([2**63 - 1] * 10_000, f"shape [{'9223372036854775807,' * 4}...] has 10000 axes, more than 32"),
        ],
    )
    def test_impossible_shapes_are_refused(self, shape: list[int], text: str) -> None:
        """Two negatives whose product is right, and products that overflow 64 bits, too."""
        with pytest.raises(WireError) as caught:
            element_count(shape)
        assert str(caught.value) == text

    def test_the_limit_is_the_last_count_that_passes(self) -> None:
        """And it can be lowered."""
        assert element_count([MAX_ELEMENTS]) == MAX_ELEMENTS
        assert element_count([2, 5], limit=10) == 10
        with pytest.raises(WireError, match=r"^shape \[2,5\] has more than 9 elements$"):
            element_count([2, 5], limit=9)


class TestRawNumbers:
    """Numbers are views of the message."""

    @pytest.mark.parametrize("name", NUMBERS)
    @given(data=st.data())
    def test_every_datatype_and_shape_survives_the_round_trip(self, name: str, data: st.DataObject) -> None:
        """Bit for bit, NaN payloads included, from either byte order and any memory layout."""
        datatype = DATATYPES[name]
        dtype = datatype.dtype.newbyteorder(data.draw(st.sampled_from("<>")))
        array = data.draw(npst.arrays(dtype, SHAPES))
        array = data.draw(st.sampled_from([array, array.T, np.asfortranarray(array)]))
        encoded = encode_raw(datatype, array)
        assert len(encoded) == array.size * datatype.itemsize
        decoded = decode_raw(datatype, array.shape, encoded)
        assert (decoded.dtype, decoded.shape) == (datatype.dtype, array.shape)
        assert decoded.tobytes() == array.astype(datatype.dtype).tobytes()

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_the_array_is_a_read_only_view(self, kind: Any) -> None:
        """No copy, and nobody can write into the message of another."""
        data = kind(bytes(range(16)))
        array = decode_raw(DATATYPES["FP32"], (2, 2), data)
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert not array.flags.writeable

    def test_booleans_beyond_one_count_as_true(self) -> None:
        """A bool that is not 0 or 1 is undefined to numpy: here it is copied, and stays read-only."""
        array = decode_raw(DATATYPES["BOOL"], (4,), bytes([0, 1, 2, 255]))
        assert array.view(np.uint8).tolist() == [0, 1, 1, 1]
        assert not array.flags.writeable

    def test_bf16_is_its_bits(self) -> None:
        """As uint16 both ways, or from ml_dtypes' own dtype."""
        values = np.array([1.0, -2.5, np.inf], ml_dtypes.bfloat16)
        encoded = encode_raw(DATATYPES["BF16"], values)
        assert encoded == encode_raw(DATATYPES["BF16"], values.view(np.uint16))
        decoded = decode_raw(DATATYPES["BF16"], (3,), encoded)
        assert decoded.dtype == np.uint16
        assert decoded.view(ml_dtypes.bfloat16).tolist() == [1.0, -2.5, np.inf]

    @pytest.mark.parametrize(
        ("shape", "size", "text"),
        [
            ((1, 4), 12, "expected 16 bytes for FP32 [1,4], got 12"),
            ((1, 4), 17, "expected 16 bytes for FP32 [1,4], got 17"),
            ((), 0, "expected 4 bytes for FP32 [], got 0"),
            ((0, 4), 16, "expected 0 bytes for FP32 [0,4], got 16"),
        ],
    )
    def test_short_and_long_payloads_are_refused(self, shape: tuple[int, ...], size: int, text: str) -> None:
        """What shape and datatype say is exactly what must be there."""
        with pytest.raises(WireError) as caught:
            decode_raw(DATATYPES["FP32"], shape, bytes(size))
        assert str(caught.value) == text

    @pytest.mark.parametrize(
        ("name", "array", "text"),
        [
            ("FP32", np.zeros(1), "expected an array of float32 for FP32, got float64"),
            ("INT8", np.zeros(1, np.uint8), "expected an array of int8 for INT8, got uint8"),
            ("BF16", np.zeros(1, np.float16), "expected an array of uint16 for BF16, got float16"),
        ],
    )
    def test_arrays_of_another_dtype_are_refused(self, name: str, array: Any, text: str) -> None:
        """Nothing is converted silently."""
        with pytest.raises(WireError) as caught:
            encode_raw(DATATYPES[name], array)
        assert str(caught.value) == text


class TestBytesElements:
    """A uint32 length and the bytes, one element after the other."""

    @given(elements=st.lists(st.binary(max_size=40)), as_view=st.booleans())
    def test_elements_survive_the_round_trip(self, elements: list[bytes], as_view: bool) -> None:
        """Empty ones and NULs included."""
        data = encode_bytes_elements(elements)
        assert decode_bytes_elements(memoryview(data) if as_view else data, len(elements)) == elements

    @given(elements=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
    def test_text_is_utf8(self, elements: list[str]) -> None:
        """What is not half a surrogate pair."""
        assert decode_utf8(decode_bytes_elements(encode_bytes_elements(elements), len(elements))) == elements

    @given(data=st.binary(max_size=64), count=st.integers(0, 20), as_view=st.booleans())
    def test_any_buffer_decodes_to_what_encodes_back_or_is_refused(
        self, data: bytes, count: int, as_view: bool
    ) -> None:
        """No third way: no other exception, and no two readings."""
        try:
            elements = decode_bytes_elements(memoryview(data) if as_view else data, count)
        except WireError:
            return
        assert len(elements) == count
        assert encode_bytes_elements(elements) == data

    def test_long_elements_are_cut_from_a_view(self) -> None:
        """The other of the two loops, which copies each element once."""
        elements = [b"a" * 5000, b"", b"b" * 3000]
        data = memoryview(encode_bytes_elements(elements))
        assert decode_bytes_elements(data, 3) == elements
        with pytest.raises(
            WireError, match=r"^BYTES element 2 of 3: expected 3000 bytes as its length says, but 2999 "
        ):
            decode_bytes_elements(data[:-1], 3)

    @pytest.mark.parametrize(
        ("data", "count", "text"),
        [
            (b"\x01\x00", 1, "expected 1 BYTES elements, which take 4 bytes or more, got 2 bytes"),
            (b"\x01\0\0\0a\x01\0\0", 2, "BYTES element 1 of 2: expected a length of 4 bytes, but 3 are left"),
            (b"\x05\0\0\0abc", 1, "BYTES element 0 of 1: expected 5 bytes as its length says, but 3 are left"),
            (
                b"\xff\xff\xff\xffabcd",
                2,
                "BYTES element 0 of 2: expected 4294967295 bytes as its length says, but 4 are left",
            ),
            (b"\x01\0\0\0ab", 1, "expected 1 BYTES elements in 5 bytes, but 1 more bytes follow"),
            (b"\0\0\0\0" * 3, 2, "expected 2 BYTES elements in 8 bytes, but 4 more bytes follow"),
            (b"\0\0\0\0" * 3, 4, "expected 4 BYTES elements, which take 16 bytes or more, got 12 bytes"),
            (b"\x02\0\0\0ab", 2, "expected 2 BYTES elements, which take 8 bytes or more, got 6 bytes"),
            (b"\x04\0\0\0abcd", 2, "expected 2 BYTES elements, got 1"),
            (b"", 1, "expected 1 BYTES elements, which take 4 bytes or more, got 0 bytes"),
            (b"\0\0\0\0", 0, "expected 0 BYTES elements in 0 bytes, but 4 more bytes follow"),
        ],
    )
    def test_broken_buffers_are_explained(self, data: bytes, count: int, text: str) -> None:
        """Cut prefix, length beyond the rest, trailing bytes, wrong count."""
        with pytest.raises(WireError) as caught:
            decode_bytes_elements(data, count)
        assert str(caught.value) == text

    def test_work_is_bounded_by_the_count(self) -> None:
        """Ten million empty strings where three are announced: three are looked at."""
        with pytest.raises(WireError) as caught:
            decode_bytes_elements(bytes(40_000_000), 3)
        assert str(caught.value) == "expected 3 BYTES elements in 12 bytes, but 39999988 more bytes follow"

    def test_a_count_that_cannot_fit_is_refused_before_any_work(self) -> None:
        """Two thousand million elements in five bytes."""
        with pytest.raises(WireError) as caught:
            decode_bytes_elements(b"\0\0\0\0\0", MAX_ELEMENTS)
        text = "expected 2147483647 BYTES elements, which take 8589934588 bytes or more, got 5 bytes"
        assert str(caught.value) == text

    def test_ten_million_empty_strings_are_one_list(self) -> None:
        """All elements are the same object: no work for each."""
        elements = decode_bytes_elements(bytes(40_000_000), 10_000_000)
        assert len(elements) == 10_000_000
        assert elements[0] is elements[-1]

    @pytest.mark.parametrize(
        ("elements", "text"),
        [
            ([b"a", 7], "element 1 is int, expected str or bytes"),
            ([None], "element 0 is NoneType, expected str or bytes"),
            (["ok", "\ud800"], "element 1 is text that UTF-8 cannot carry: '\\ud800'"),
        ],
    )
    def test_elements_that_cannot_be_written_are_named(self, elements: list[Any], text: str) -> None:
        """By index and type."""
        with pytest.raises(WireError) as caught:
            encode_bytes_elements(elements)
        assert str(caught.value) == text

    def test_an_element_that_is_not_utf8_is_named(self) -> None:
        """By index, byte and offset."""
        with pytest.raises(WireError) as caught:
            decode_utf8([b"fine", b"nul\0inside", b"ab\xffc"])
        assert str(caught.value) == "element 2 is not UTF-8: byte 0xff at offset 2"


class TestBytesTensors:
    """Shapes around elements."""

    def test_elements_are_placed_row_major(self) -> None:
        """As an object array of bytes."""
        data = encode_bytes_elements(["a", "b", "c", "d"])
        array = decode_raw(DATATYPES["BYTES"], (2, 2), data)
        assert array.dtype == object
        assert array.tolist() == [[b"a", b"b"], [b"c", b"d"]]

    @pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)])
    def test_scalars_and_empty_tensors_pass(self, shape: tuple[int, ...]) -> None:
        """Of any rank."""
        data = encode_bytes_elements(["x"] * element_count(shape))
        array = decode_raw(DATATYPES["BYTES"], shape, data)
        assert (array.shape, array.dtype) == (shape, np.dtype(object))
        assert encode_raw(DATATYPES["BYTES"], array) == data

    @pytest.mark.parametrize("dtype", ["U3", "S3", object])
    def test_text_byte_and_object_arrays_are_written_alike(self, dtype: Any) -> None:
        """In row-major order, also where memory is not."""
        array = np.array([["a", "bc"], ["", "def"]], dtype).T
        expected = b"".join(struct.pack("<I", len(e)) + e for e in (b"a", b"", b"bc", b"def"))
        assert encode_raw(DATATYPES["BYTES"], array) == expected

    def test_sequences_stay_single_elements(self) -> None:
        """With numpy.array they would become two axes of two strings of equal length in a list of lists."""
        assert object_array([[1, 2], [3, 4]], (2,)).tolist() == [[1, 2], [3, 4]]


TYPED = sorted(name for name, datatype in DATATYPES.items() if datatype.contents_field)


class TestTyped:
    """Elements as protobuf values."""

    @pytest.mark.parametrize("name", TYPED)
    @given(data=st.data())
    def test_every_datatype_arrives_as_it_was_sent(self, name: str, data: st.DataObject) -> None:
        """The same array as from raw contents."""
        datatype = DATATYPES[name]
        if datatype.itemsize:
            array = data.draw(npst.arrays(datatype.dtype, SHAPES))
        else:
            shape = data.draw(SHAPES)
            count = element_count(shape)
            array = object_array(data.draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count)), shape)
        contents = InferTensorContents(**{str(datatype.contents_field): array.ravel().tolist()})
        decoded = decode_typed(datatype, array.shape, contents)
        assert (decoded.dtype, decoded.shape) == (datatype.dtype, array.shape)
        if datatype.itemsize:
            np.testing.assert_array_equal(decoded, array)
        else:
            assert decoded.tolist() == array.tolist()

    @pytest.mark.parametrize(
        ("name", "contents", "text"),
        [
            ("FP16", InferTensorContents(fp32_contents=[1]), "FP16 has no typed form: send it in raw_input_contents"),
            ("BF16", InferTensorContents(), "BF16 has no typed form: send it in raw_input_contents"),
            (
                "INT8",
                InferTensorContents(fp32_contents=[1]),
                "typed data of INT8 belong in int_contents, but fp32_contents is set",
            ),
            (
                "INT64",
                InferTensorContents(int64_contents=[1], int_contents=[1]),
                "typed data of INT64 belong in int64_contents, but int_contents is set",
            ),
            (
                "FP32",
                InferTensorContents(fp32_contents=[1, 2]),
                "expected 1 elements in fp32_contents for FP32 [1], got 2",
            ),
            ("FP32", InferTensorContents(), "expected 1 elements in fp32_contents for FP32 [1], got 0"),
            ("INT8", InferTensorContents(int_contents=[300]), "element 0 is 300, outside INT8 (-128 to 127)"),
            (
                "INT16",
                InferTensorContents(int_contents=[-40000]),
                "element 0 is -40000, outside INT16 (-32768 to 32767)",
            ),
            ("UINT8", InferTensorContents(uint_contents=[256]), "element 0 is 256, outside UINT8 (0 to 255)"),
            (
                "UINT16",
                InferTensorContents(uint_contents=[2**32 - 1]),
                "element 0 is 4294967295, outside UINT16 (0 to 65535)",
            ),
        ],
    )
    def test_wrong_contents_are_explained(self, name: str, contents: InferTensorContents, text: str) -> None:
        """Wrong field, two fields, wrong count, out of range, no typed form."""
        with pytest.raises(WireError) as caught:
            decode_typed(DATATYPES[name], (1,), contents)
        assert str(caught.value) == text

    def test_the_first_element_out_of_range_is_named(self) -> None:
        """By its index in row-major order."""
        contents = InferTensorContents(int_contents=[1, -129, 128, 2])
        with pytest.raises(WireError, match=r"^element 1 is -129, outside INT8 "):
            decode_typed(DATATYPES["INT8"], (2, 2), contents)

    def test_impossible_shapes_are_refused(self) -> None:
        """Before the contents are read."""
        with pytest.raises(WireError, match=r"^shape \[-1\] has a negative size$"):
            decode_typed(DATATYPES["FP32"], (-1,), InferTensorContents())
