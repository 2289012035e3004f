"""The datatype table is complete and agrees with the protocol, with numpy and with the messages."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from sardonyx_wire.datatypes import BY_CONFIG_NAME, DATATYPES, for_dtype
from sardonyx_wire.messages import DataType, InferTensorContents

SIZES = {
    "BOOL": 1,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BF16": 2,
    "BYTES": 0,
}


def test_the_table_holds_the_protocols_datatypes_with_their_sizes() -> None:
    """Names and sizes on the wire; BYTES has no fixed size."""
    assert {name: datatype.itemsize for name, datatype in DATATYPES.items()} == SIZES
    assert all(name == datatype.name for name, datatype in DATATYPES.items())


def test_every_config_name_is_a_member_of_the_enum() -> None:
    """All but TYPE_INVALID, each once; BYTES is TYPE_STRING."""
    assert BY_CONFIG_NAME.keys() | {"TYPE_INVALID"} == set(DataType.keys())
    assert BY_CONFIG_NAME["TYPE_STRING"] is DATATYPES["BYTES"]


def test_every_contents_field_exists_and_every_field_is_used() -> None:
    """FP16 and BF16 have no typed form."""
    used = {datatype.contents_field for datatype in DATATYPES.values()}
    assert used == {*InferTensorContents.DESCRIPTOR.fields_by_name, None}
    assert [name for name, datatype in DATATYPES.items() if datatype.contents_field is None] == ["FP16", "BF16"]


def test_numbers_are_little_endian_on_every_machine() -> None:
    """The byte order is part of the dtype, so that a view of the wire is right everywhere."""
    for datatype in DATATYPES.values():
        assert datatype.dtype == datatype.dtype.newbyteorder("<")


def test_integers_have_limits_and_nothing_else_does() -> None:
    """Limits are Python integers: a comparison with them cannot overflow."""
    for name, datatype in DATATYPES.items():
        if "INT" in name:
            assert (datatype.minimum, datatype.maximum) == (np.iinfo(datatype.dtype).min, np.iinfo(datatype.dtype).max)
            assert type(datatype.maximum) is int
        else:
            assert (datatype.minimum, datatype.maximum) == (None, None)


@pytest.mark.parametrize("name", sorted(SIZES.keys() - {"BF16"}))
def test_a_dtype_leads_back_to_its_datatype_in_either_byte_order(name: str) -> None:
    """BF16 alone does not: its uint16 means UINT16."""
    dtype = DATATYPES[name].dtype
    assert for_dtype(dtype) is for_dtype(dtype.newbyteorder(">")) is DATATYPES[name]


@pytest.mark.parametrize("dtype", ["U5", "S5", "O"])
def test_text_bytes_and_objects_are_bytes(dtype: str) -> None:
    """Whether the elements can be sent is seen when they are encoded."""
    assert for_dtype(np.dtype(dtype)) is DATATYPES["BYTES"]


def test_bfloat16_of_ml_dtypes_is_bf16() -> None:
    """Known by its name, without importing ml_dtypes."""
    assert for_dtype(np.dtype(ml_dtypes.bfloat16)) is DATATYPES["BF16"]


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "m8[s]", "V4", ml_dtypes.float8_e4m3fn])
def test_a_dtype_that_nothing_carries_has_no_datatype(dtype: str) -> None:
    """Complex numbers, dates, records and exotic floats."""
    assert for_dtype(np.dtype(dtype)) is None
