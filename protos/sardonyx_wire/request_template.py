"""Encodes ``ModelInferRequest`` messages from a template. Validates nothing.

The counterpart of response_template.py for the client: everything except the id and the data is the same in successive
requests. Tests compare the result with protobuf's own encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.protobuf_fields import encode_id, join, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RequestTemplate"]

# ModelInferRequest.raw_input_contents
_RAW: Final = bytes((tag(7),))


class RequestTemplate:
    """The encoded parts of a request that are the same in successive requests.

    Args:
        header: A request without id and raw contents. Not retained.

    Raises:
        EncodeError: The header is larger than 2 GiB.
    """

    __slots__ = ("_head", "_tail")

    def __init__(self, header: ModelInferRequest) -> None:
        # In the order of field numbers, as decoders expect: the id comes third.
        self._head = ModelInferRequest(
            model_name=header.model_name, model_version=header.model_version
        ).SerializeToString()
        self._tail = header.SerializeToString()[len(self._head) :]

    def fill(self, request_id: str, data: Sequence[bytes | memoryview]) -> bytes:
        """Encode a request.

        Args:
            request_id: Returned in the response; "" sends none.
            data: Raw contents of the inputs that have no typed contents, in their order; memoryviews of single bytes.

        Returns:
            The serialised ``ModelInferRequest``. The data are copied once.
        """
        return bytes(join(self._head, encode_id(request_id), self._tail, _RAW, data))
