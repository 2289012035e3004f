"""Bad requests: strings, outputs, parameters, and messages that are none. Part of the table in bad_requests.py."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_wire.messages import METHODS, ModelInferRequest
from tests.e2e.bad_request import BadRequest, add_sub, affine, text, with_parameter
from tests.e2e.servers import MESSAGE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

__all__ = ["messages", "outputs", "parameters", "strings"]

TOO_LARGE, UNSERVED = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED
REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# Served on grpc's stock server, beside inference.
UNARY: Final = [
    *(METHODS[name].path for name in ("ModelReady", "ModelMetadata", "ModelConfig")),
    "/grpc.health.v1.Health/Check",
]
TOO_MANY: Final = r"^the message has more than 16384 fields, which no model takes$"
# A field of number 1 that says it has 100 bytes and has 3.
CUT_SHORT: Final = b"\x0a\x64abc"


def strings() -> list[BadRequest]:
    """Rows about BYTES."""

    def row(key: str, make: Callable[[], Message | bytes], problem: str) -> BadRequest:
        return BadRequest(
            id=f"bytes-{key}",
            make=make,
            pattern=rf"^data of input 'x' of model 'identity_bytes': {problem}",
            field="raw_input_contents[0]",
        )

    def elements(*values: bytes) -> bytes:
        return b"".join(struct.pack("<I", len(value)) + value for value in values)

    two = elements(b"a", b"b")
    return [
        row("cut-prefix", lambda: text(two + b"\1\0" + b"\0" * 1), r"BYTES element 2 of 3: expected a length of 4"),
        row("cut-prefix-short", lambda: text(two + b"\1"), r"expected 3 BYTES elements, which take 12 bytes or more"),
        row("beyond-the-rest", lambda: text(two + b"\x09\0\0\0abc"), r".*expected 9 bytes as its length says"),
        row(
            "length-2^32-1",
            lambda: text(two + b"\xff\xff\xff\xff"),
            r"BYTES element 2 of 3: expected 4294967295 bytes as its length says, but 0 are left$",
        ),
        row(
            "trailing", lambda: text(two + elements(b"c") + b"!"), r"expected 3 BYTES elements in 15 bytes, but 1 more"
        ),
        row("too-few", lambda: text(elements(b"ab", b"cdefgh")), r"expected 3 BYTES elements, got 2$"),
        row("none", lambda: text(b""), r"expected 3 BYTES elements, which take 12 bytes or more, got 0 bytes$"),
        row("ten-million-empty", lambda: text(bytes(40_000_000)), r"expected 3 BYTES elements in 12 bytes, but 3999"),
        row(
            "not-utf-8",
            lambda: text(elements(b"a", b"\xff\xfe", b"")),
            r"element 1 is not UTF-8: byte 0xff at offset 0$",
        ),
        row("half-a-surrogate", lambda: text(elements(b"\xed\xa0\x80", b"", b"")), r"element 0 is not UTF-8"),
    ]


def outputs() -> list[BadRequest]:
    """Rows about requested outputs."""
    return [
        BadRequest(
            id="output-unknown",
            make=lambda: add_sub(outputs=["sum", "product"]),
            pattern=r"^unknown output 'product' of model 'add_sub': expected 'sum', 'difference'$",
            field="outputs[1].name",
        ),
        BadRequest(
            id="output-repeated",
            make=lambda: add_sub(outputs=["sum", "sum"]),
            pattern=r"^output 'sum' of model 'add_sub' is requested more than once$",
            field="outputs[1].name",
        ),
        BadRequest(
            id="outputs-a-million",
            make=lambda: many_outputs("y"),
            pattern=TOO_MANY,
        ),
    ]


def parameters() -> list[BadRequest]:
    """Rows about parameters of the request."""

    def row(key: str, name: str, pattern: str, **value: bool | str | float) -> BadRequest:
        return BadRequest(
            id=f"parameter-{key}",
            make=lambda: with_parameter(name, **value),
            pattern=pattern,
            field=f"parameters[{name}]",
        )

    whole = r"^parameter '{}': expected an integer of at least 0, got {}$"
    return [
        row("timeout-text", "timeout", whole.format("timeout", "str"), string_param="1"),
        row("timeout-bool", "timeout", whole.format("timeout", "True"), bool_param=True),
        row("timeout-float", "timeout", whole.format("timeout", "1.5"), double_param=1.5),
        row("timeout-negative", "timeout", whole.format("timeout", "-1"), int64_param=-1),
        row("priority-negative", "priority", whole.format("priority", "-1"), int64_param=-1),
        row("sequence", "sequence_id", r"^parameter 'sequence_id': the model has no sequence batching", int64_param=7),
        row("sequence-type", "sequence_start", r"^parameter 'sequence_start': expected a boolean", string_param="yes"),
        BadRequest(
            id="parameter-reserved",
            make=lambda: with_parameter("triton_unheard_of", bool_param=True),
            pattern=r"^parameter 'triton_unheard_of': names that begin with 'triton_' are reserved and ",
            field="parameters['triton_unheard_of']",
        ),
        BadRequest(
            id="parameters-100000",
            make=many_parameters,
            pattern=TOO_MANY,
        ),
    ]


def messages() -> list[BadRequest]:
    """Rows about the message as a whole, and about what surrounds it."""
    none = r"^the message is not a valid inference\.ModelInferRequest$"
    whole = affine().SerializeToString()
    rows = [
        BadRequest(id="message-malformed", make=lambda: b"\xff" * 64, pattern=none),
        BadRequest(id="message-truncated", make=lambda: whole[:-1], pattern=none),
        BadRequest(id="message-cut-in-header", make=lambda: whole[:12], pattern=none),
        BadRequest(id="message-nested-groups", make=nested_groups, pattern=none),
        BadRequest(id="message-nested-in-input", make=nested_in_input, pattern=none),
        BadRequest(id="message-name-not-utf-8", make=lambda: b"\x0a\x02\xff\xfe", pattern=none),
        BadRequest(id="message-endless-varint", make=lambda: b"\x0a" + b"\xff" * 20, pattern=none),
        BadRequest(
            id="message-empty", make=lambda: b"", pattern=r"^the model name is empty", code=grpc.StatusCode.NOT_FOUND
        ),
        BadRequest(
            id="message-over-the-limit",
            make=lambda: ModelInferRequest(raw_input_contents=[bytes(MESSAGE_LIMIT_BYTES + 1)]),
            code=TOO_LARGE,
            pattern=r"larger than max",
            from_core=True,
        ),
        BadRequest(
            id="metadata-20-kB",
            make=affine,
            code=TOO_LARGE,
            pattern=r"metadata",
            from_core=True,
            options={"metadata": (("x-large", "m" * 20_000),)},
        ),
        *(
            BadRequest(
                id=f"method-{key}",
                make=affine,
                code=UNSERVED,
                pattern=r"^Method not found!$",
                path=path,
                from_core=True,
            )
            for key, path in {
                "unknown": "/inference.GRPCInferenceService/ModelInferr",
                "service": "/inference.Nobody/ModelInfer",
                "strange": "/../etc",
                "long": "/" + "m" * 4000,
            }.items()
        ),
    ]
    for path in UNARY:
        name = path.rpartition("/")[2]
        rows += [
            BadRequest(id=f"{name}-{key}", make=lambda made=made: made, pattern=rf"^request of {name}: ", path=path)  # type: ignore[misc]  # bound
            for key, made in {
                "malformed": b"\xff" * 64,
                "truncated": CUT_SHORT,
                "nested-groups": b"\x7b" * 10_000,
                "not-utf-8": b"\x0a\x01\xff",
            }.items()
        ]
        rows.append(
            BadRequest(
                id=f"{name}-over-the-limit",
                make=lambda: bytes(MESSAGE_LIMIT_BYTES + 1),
                code=TOO_LARGE,
                pattern=r"larger than max",
                path=path,
                from_core=True,
            )
        )
    rows += [
        BadRequest(
            id=f"reflection-{key}",
            make=lambda made=made: made,  # type: ignore[misc]  # bound
            pattern=r"^request of ServerReflectionInfo: ",
            path=REFLECTION,
            streams=True,
        )
        for key, made in {"malformed": b"\xff" * 64, "truncated": CUT_SHORT, "nested-groups": b"\x7b" * 10_000}.items()
    ]
    return rows


def many_parameters() -> ModelInferRequest:
    """A good request, but for 100,000 parameters."""
    message = affine()
    for number in range(100_000):
        message.parameters[f"p{number}"].int64_param = number
    return message


def many_outputs(name: str) -> bytes:
    """A good request, but for a million requested outputs."""
    one = ModelInferRequest()
    one.outputs.add(name=name)
    # As bytes: the message class would take seconds. The raw contents come last, as clients send them.
    message = affine()
    raw = ModelInferRequest(raw_input_contents=message.raw_input_contents)
    message.ClearField("raw_input_contents")
    return message.SerializeToString() + one.SerializeToString() * 1_000_000 + raw.SerializeToString()


def nested_groups(depth: int = 10_000) -> bytes:
    """A good request, and an unknown field 15 of groups within groups."""
    return affine().SerializeToString() + b"\x7b" * depth + b"\x7c" * depth


def nested_in_input() -> bytes:
    """Such groups within an input, where only the whole header shows them."""
    groups = b"\x7b" * 1000 + b"\x7c" * 1000
    tensor = affine().inputs[0].SerializeToString() + groups
    length = len(tensor)
    return b"\x0a\x06affine\x2a" + bytes((length & 127 | 128, length >> 7)) + tensor
