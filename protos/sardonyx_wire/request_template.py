"""Requests -> bytes of a ``ModelInferRequest``, joined once. Checks nothing: who builds a template knows what it says.

The counterpart of response_template.py for callers: everything but the id and the data repeats from one request to the
next. Tests hold it equal to protobuf's own bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.framing import encode_id, join, tag
from sardonyx_wire.messages import ModelInferRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RequestTemplate"]

# ModelInferRequest.raw_input_contents
_RAW: Final = bytes((tag(7),))


class RequestTemplate:
    """All of a request that does not change from one to the next of the same kind.

    Args:
        header: A request without id and raw contents. Not kept.

    Raises:
        EncodeError: It is larger than 2 GiB.
    """

    __slots__ = ("_head", "_tail")

    def __init__(self, header: ModelInferRequest) -> None:
        # In the order of the field numbers, which is how readers expect them: the id comes third.
        self._head = ModelInferRequest(
            model_name=header.model_name, model_version=header.model_version
        ).SerializeToString()
        self._tail = header.SerializeToString()[len(self._head) :]

    def fill(self, request_id: str, data: Sequence[bytes | memoryview]) -> bytes:
        """Make the message.

        Args:
            request_id: Sent back in the answer; "" sends none.
            data: Raw contents, in the order of the inputs that have no other; memoryviews of single bytes.

        Returns:
            The serialised ``ModelInferRequest``: one copy of the data.
        """
        return bytes(join(self._head, encode_id(request_id), self._tail, _RAW, data))
