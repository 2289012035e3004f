"""Encodes ``ModelInferResponse`` messages from a template. Large outputs are not copied.

Everything except the id and the data depends only on names, datatypes, shapes and parameters, and these repeat. So a
:class:`ResponseTemplate` is built once for each combination and filled many times. Tests compare the result with
protobuf's own encoding.
"""

from __future__ import annotations

from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sardonyx_wire.messages import ModelInferResponse
from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES, encode_length, join, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["OutputMetadata", "ResponseTemplate"]

# ModelInferResponse.raw_output_contents
_RAW: Final = bytes((tag(6),))
# Number of outputs of a typical classifier: label and probabilities.
_PAIR: Final = 2


class OutputMetadata(NamedTuple):
    """An output of a response without its data.

    Attributes:
        name: Name of the output.
        datatype: Name of the datatype in the protocol.
        shape: Shape of the whole tensor.
        parameters: Parameters of the output: text or integer by name.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: Mapping[str, str | int] = MappingProxyType({})


class ResponseTemplate:
    """The encoded parts of a response that are the same for all requests of one kind.

    Args:
        model_name: Name of the model that ran.
        model_version: Version that ran.
        outputs: The outputs, in the order of the response.
    """

    __slots__ = ("_head", "_known", "_tail")

    def __init__(self, *, model_name: str, model_version: str, outputs: Iterable[OutputMetadata]) -> None:
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
        # For each output: the bytes before its data, and the length of the data, which is constant for numeric outputs.
        self._known: tuple[tuple[bytes, int], ...] = ()

    def fill(self, id_field: bytes, data: Sequence[bytes | memoryview]) -> EncodedMessage:
        """Encode a response.

        Args:
            id_field: Wire bytes of the id field of the request, or b"". It is the same field in the response.
            data: Raw contents of each output, in order.

        Returns:
            The serialised ``ModelInferResponse``, with one copy of the data, or views of large data.
        """
        known = self._known
        # One or two outputs, as nearly all models have, in one step: a loop would take longer than everything else
        # here.
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

    def _fill(self, id_field: bytes, data: Sequence[bytes | memoryview]) -> EncodedMessage:
        """As :meth:`fill`, for any data."""
        if not self._known and max(map(len, data), default=LARGE_PAYLOAD_BYTES) < LARGE_PAYLOAD_BYTES:
            tails = (self._tail, *repeat(b"", len(data) - 1))
            self._known = tuple(
                (tail + _RAW + encode_length(len(part)), len(part)) for tail, part in zip(tails, data, strict=True)
            )
        return join(self._head, id_field, self._tail, _RAW, data)
