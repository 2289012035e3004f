"""Outputs -> a ``ModelInferResponse``, joined once, or not at all where they are large. Does not run models.

Everything but the id and the data depends only on names, datatypes, shapes and parameters, and these repeat. So the
caller builds a :class:`ResponseTemplate` once for each combination and fills it many times. Tests hold it equal to
protobuf's own bytes.
"""

from __future__ import annotations

from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sardonyx_wire.framing import LARGE_BYTES, encode_length, join, tag
from sardonyx_wire.messages import ModelInferResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sardonyx_wire.framing import Message

__all__ = ["OutputHead", "ResponseTemplate"]

# ModelInferResponse.raw_output_contents
_RAW: Final = bytes((tag(6),))
# Outputs of a classifier.
_PAIR: Final = 2


class OutputHead(NamedTuple):
    """What a response says of an output, beside its data.

    Attributes:
        name: Of the output.
        datatype: Name in the protocol.
        shape: Of the whole tensor.
        parameters: Of the output; text or numbers by name.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: Mapping[str, str | int] = MappingProxyType({})


class ResponseTemplate:
    """All of a response that does not change from one request to the next of the same kind.

    Args:
        model_name: Name of the model that ran.
        model_version: Version that ran.
        outputs: In the order of the answer.
    """

    __slots__ = ("_head", "_known", "_tail")

    def __init__(self, *, model_name: str, model_version: str, outputs: Iterable[OutputHead]) -> None:
        self._head = ModelInferResponse(model_name=model_name, model_version=model_version).SerializeToString()
        tail = ModelInferResponse()
        for head in outputs:
            output = tail.outputs.add(name=head.name, datatype=head.datatype, shape=head.shape)
            for name, value in head.parameters.items():
                if isinstance(value, str):
                    output.parameters[name].string_param = value
                else:
                    output.parameters[name].int64_param = value
        self._tail = tail.SerializeToString(deterministic=True)
        # What stands before the data of each output, and their length: of numbers it is the same in all answers.
        self._known: tuple[tuple[bytes, int], ...] = ()

    def fill(self, id_field: bytes, data: Sequence[bytes | memoryview]) -> Message:
        """Make the message.

        Args:
            id_field: Wire bytes of the request's id field (the response has the same field), or b"".
            data: Raw contents of each output, in order.

        Returns:
            The serialised ``ModelInferResponse``: one copy of the data, or views of it where it is large.
        """
        known = self._known
        # One output or two, which is what nearly all models give, in one step: a loop takes longer than all else.
        if len(known) == len(data) == 1:
            lead, length = known[0]
            if len(data[0]) == length:
                return b"".join((self._head, id_field, lead, data[0]))
        elif len(known) == len(data) == _PAIR:
            (lead, length), (other_lead, other_length) = known
            first, other = data
            if len(first) == length and len(other) == other_length:
                return b"".join((self._head, id_field, lead, first, other_lead, other))
        return self._fill(id_field, data)

    def _fill(self, id_field: bytes, data: Sequence[bytes | memoryview]) -> Message:
        """The same for any data."""
        if not self._known and max(map(len, data), default=LARGE_BYTES) < LARGE_BYTES:
            tails = (self._tail, *repeat(b"", len(data) - 1))
            self._known = tuple(
                (tail + _RAW + encode_length(len(part)), len(part)) for tail, part in zip(tails, data, strict=True)
            )
        return join(self._head, id_field, self._tail, _RAW, data)
