"""Bad requests: inputs, shapes and payloads of tensors. Part of the table in bad_requests.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sardonyx_server.settings import MIB
from sardonyx_wire.messages import InferTensorContents, ModelInferRequest
from tests.e2e.bad_request import BadRequest, affine, extra_input, undeclared, without_input
from tests.e2e.messages import infer_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

__all__ = ["inputs", "payloads"]


def inputs() -> list[BadRequest]:
    """Rows about which inputs there are, their datatypes and their shapes."""
    wrong_datatype = r"^input 'x' of model 'affine': expected FP32 \[-1,4\], got {} \[1,4\]$"
    wrong_shape = r"^input 'x' of model 'affine': expected FP32 \[-1,4\], got FP32 {}"
    too_many = r"; at most 32 dimensions and 2147483647 elements, none negative$"
    return [
        BadRequest(
            id="input-missing",
            make=lambda: without_input("b"),
            pattern=r"^input 'b' of model 'add_sub' is missing: expected INT32 \[-1,4\]$",
            field="inputs",
        ),
        BadRequest(
            id="inputs-none",
            make=lambda: ModelInferRequest(model_name="affine"),
            pattern=r"^input 'x' of model 'affine' is missing: expected FP32 \[-1,4\]$",
            field="inputs",
        ),
        BadRequest(
            id="input-extra",
            make=lambda: extra_input("z"),
            pattern=r"^unknown input 'z' of model 'affine': expected 'x' FP32 \[-1,4\]$",
            field="inputs[1].name",
        ),
        BadRequest(
            id="input-repeated",
            make=lambda: extra_input("x"),
            pattern=r"^input 'x' of model 'affine' is given more than once$",
            field="inputs[1].name",
        ),
        BadRequest(
            id="input-unnamed",
            make=lambda: extra_input(""),
            pattern=r"^unknown input '' of model 'affine'",
            field="inputs[1].name",
        ),
        *(
            BadRequest(
                id=f"datatype-{datatype[:9] or 'empty'}",
                make=lambda datatype=datatype: affine(datatype=datatype),  # type: ignore[misc]
                pattern=wrong_datatype.format(shown),
                field="inputs[0].datatype",
            )
            for datatype, shown in {
                "FP64": "FP64",
                "BYTES": "BYTES",
                "FP33": "'FP33'",
                "fp32": "'fp32'",
                "": "''",
                "TYPE_FP32": "'TYPE_FP32'",
                "F" * MIB: r"'F{80}\.\.\.' \(1,048,576 characters\)",
            }.items()
        ),
        *(
            BadRequest(
                id=f"shape-{key}",
                make=lambda shape=shape: affine(shape=shape),  # type: ignore[misc]
                pattern=wrong_shape.format(shown),
                field="inputs[0].shape",
            )
            for key, shape, shown in [
                ("rank-1", (4,), r"\[4\]$"),
                ("rank-3", (1, 4, 1), r"\[1,4,1\]$"),
                ("scalar", (), r"\[\]$"),
                ("dimension", (1, 5), r"\[1,5\]$"),
                ("negative", (-1, 4), r"\[-1,4\]" + too_many),
                ("negatives-whose-product-is-right", (-1, -4), r"\[-1,-4\]" + too_many),
                ("2^62", (2**62, 4), r"\[4611686018427387904,4\]" + too_many),
                ("2^63-1", (2**63 - 1, 4), r"\[9223372036854775807,4\]" + too_many),
                ("least-integer", (-(2**63), 4), r"\[-9223372036854775808,4\]" + too_many),
                ("rank-10000", (1,) * 10_000, r"\[1,1,1,.*,\.\.\. 10000 dimensions\]"),
            ]
        ),
        BadRequest(
            id="shape-zero-rows",
            make=lambda: affine(shape=(0, 4), raw=[b""]),
            pattern=r"^input 'x' of model 'affine': a batch needs at least 1 row, got 0$",
            field="inputs[0].shape",
        ),
        BadRequest(
            id="shape-unequal-rows",
            make=unequal_rows,
            pattern=r"^inputs of model 'add_sub' must have the same number of rows: 'a' has 2, 'b' has 1$",
            field="inputs[1].shape",
        ),
        BadRequest(
            id="shape-not-scalar",
            make=lambda: infer_request("scalar", x=np.ones(1, np.float32)),
            pattern=r"^input 'x' of model 'scalar': expected FP32 \[\], got FP32 \[1\]$",
            field="inputs[0].shape",
        ),
        *(
            BadRequest(
                id=f"undeclared-{key}",
                make=lambda shape=shape: undeclared(*shape),  # type: ignore[misc]
                pattern=r"^input 'x' of model 'undeclared': expected FP32 of any shape, got FP32 \[.*\]" + too_many,
                field="inputs[0].shape",
            )
            for key, shape in {
                "rank-33": (1,) * 33,
                "product-wraps-to-0": (2**32, 2**32),
                "zero-times-2^62": (0, 2**62),
                "zero-hides-overflow": (2**40, 2**40, 0),
                "two-negatives": (-2, -2),
            }.items()
        ),
        BadRequest(
            id="shape-endless-empty-rows",
            make=lambda: infer_request("wide", x=np.empty((2**31 - 1, 0), np.float32)),
            pattern=r"^request to model 'wide': expected at most 131072 rows at a time \(16384 batches of 8\), got "
            r"2147483647; send fewer in each request, or raise max_batch_size in its config.pbtxt$",
            field="inputs[0].shape",
        ),
    ]


def payloads() -> list[BadRequest]:
    """Rows about the data of numbers."""
    typed = InferTensorContents
    expected_16 = r"^data of input 'x' of model 'affine': expected 16 bytes for FP32 \[1,4\], got {}$"
    raw = "raw_input_contents[0]"
    contents = "inputs[0].contents"

    def row(key: str, make: Callable[[], Message | bytes], pattern: str, blamed: str) -> BadRequest:
        return BadRequest(id=f"payload-{key}", make=make, pattern=pattern, field=blamed)

    return [
        row("short", lambda: affine(raw=[bytes(15)]), expected_16.format(15), raw),
        row("long", lambda: affine(raw=[bytes(17)]), expected_16.format(17), raw),
        row("empty", lambda: affine(raw=[b""]), expected_16.format(0), raw),
        row("absent", lambda: affine(raw=[]), r"^input 'x' of model 'affine' has no data: ", contents),
        row(
            "both-forms",
            lambda: affine(contents=typed(fp32_contents=[1] * 4)),
            r"^data of input 'x' of model 'affine': typed contents and raw_input_contents cannot be mixed",
            contents,
        ),
        row(
            "too-many-entries",
            lambda: affine(raw=[bytes(16), b"", b""]),
            r"^raw_input_contents of the request to model 'affine': expected 1 entries, .* got 3$",
            "raw_input_contents",
        ),
        row(
            "10000-entries",
            lambda: affine(raw=[bytes(16), *[b""] * 10_000]),
            r"expected 1 entries, .* got 10001$",
            "raw_input_contents",
        ),
        row(
            "wrong-typed-field",
            lambda: affine(raw=[], contents=typed(fp64_contents=[1] * 4)),
            r"typed data of FP32 belong in fp32_contents, but fp64_contents is set$",
            contents,
        ),
        row(
            "two-typed-fields",
            lambda: affine(raw=[], contents=typed(fp32_contents=[1] * 4, int_contents=[1])),
            r"typed data of FP32 belong in fp32_contents, but int_contents is set$",
            contents,
        ),
        row(
            "typed-too-few",
            lambda: affine(raw=[], contents=typed(fp32_contents=[1] * 3)),
            r"expected 4 elements in fp32_contents for FP32 \[1,4\], got 3$",
            contents,
        ),
        row(
            "typed-out-of-range",
            lambda: typed_int8(300),
            r"element 0 is 300, outside INT8 \(-128 to 127\)$",
            contents,
        ),
        row(
            "typed-fp16",
            typed_fp16,
            r"FP16 has no typed form: send it in raw_input_contents$",
            contents,
        ),
    ]


def typed_int8(first: int) -> ModelInferRequest:
    """A row of INT8 in the 32-bit field."""
    message = ModelInferRequest(model_name="identity_int8")
    contents = InferTensorContents(int_contents=[first, 0, 0])
    message.inputs.add(name="x", datatype="INT8", shape=(1, 3), contents=contents)
    return message


def typed_fp16() -> ModelInferRequest:
    """A datatype without a typed form."""
    message = ModelInferRequest(model_name="identity_fp16")
    contents = InferTensorContents(fp32_contents=[0, 0, 0])
    message.inputs.add(name="x", datatype="FP16", shape=(1, 3), contents=contents)
    return message


def unequal_rows() -> ModelInferRequest:
    """Two rows of one input, one of the other."""
    return infer_request("add_sub", a=np.ones((2, 4), np.int32), b=np.ones((1, 4), np.int32))
