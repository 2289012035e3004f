"""A row of the table of bad requests, and requests that are right but for one thing. Sends nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from sardonyx_wire.messages import ModelInferRequest
from tests.e2e.messages import infer_request
from tests.e2e.servers import INFER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

__all__ = [
    "BadRequest",
    "add_sub",
    "affine",
    "extra_input",
    "text",
    "undeclared",
    "with_parameter",
    "without_input",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """One row of the table.

    Attributes:
        id: Of the test.
        make: Makes the message; large ones exist only while they are sent.
        pattern: Regular expression that the status message matches.
        code: Status that it gets.
        path: Method that is called.
        field: The field that the details blame; "" where they blame none.
        streams: The method takes and gives streams; the message is sent alone.
        from_core: grpc's core answers by itself: no details.
        options: More arguments of the call.
    """

    id: str
    make: Callable[[], Message | bytes]
    pattern: str
    code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    path: str = INFER
    field: str = ""
    streams: bool = False
    from_core: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def affine(**changes: Any) -> ModelInferRequest:
    """A good request to ``affine``, with fields of its one input replaced."""
    message = infer_request("affine", x=np.ones((1, 4), np.float32))
    for name, value in changes.items():
        if name == "shape":
            del message.inputs[0].shape[:]
            message.inputs[0].shape.extend(value)
        elif name == "raw":
            del message.raw_input_contents[:]
            message.raw_input_contents.extend(value)
        elif name == "contents":
            message.inputs[0].contents.CopyFrom(value)
        elif name == "model":
            message.model_name = value
        elif name == "version":
            message.model_version = value
        else:
            setattr(message.inputs[0], name, value)
    return message


def add_sub(**more: Any) -> ModelInferRequest:
    """A good request to ``add_sub``."""
    ones = np.ones((1, 4), np.int32)
    return infer_request("add_sub", a=ones, b=ones, **more)


def text(raw: bytes, shape: tuple[int, ...] = (1, 3)) -> ModelInferRequest:
    """A request to ``identity_bytes`` with this raw content."""
    message = ModelInferRequest(model_name="identity_bytes", raw_input_contents=[raw])
    message.inputs.add(name="x", datatype="BYTES", shape=shape)
    return message


def with_parameter(name: str, **value: Any) -> ModelInferRequest:
    """A good request with one parameter; none of its types where no value is given."""
    message = affine()
    message.parameters[name].SetInParent()
    for kind, one in value.items():
        setattr(message.parameters[name], kind, one)
    return message


def extra_input(name: str) -> ModelInferRequest:
    """A good request with one input more."""
    message = affine()
    message.inputs.add(name=name, datatype="FP32", shape=(1, 4))
    message.raw_input_contents.append(bytes(16))
    return message


def without_input(name: str) -> ModelInferRequest:
    """A request to ``add_sub`` without one of its inputs."""
    given: dict[str, Any] = {other: np.ones((1, 4), np.int32) for other in "ab" if other != name}
    return infer_request("add_sub", **given)


def undeclared(*shape: int, raw: bytes = b"") -> ModelInferRequest:
    """A request to a model whose graph declares no shape."""
    message = ModelInferRequest(model_name="undeclared", raw_input_contents=[raw])
    message.inputs.add(name="x", datatype="FP32", shape=shape)
    return message
