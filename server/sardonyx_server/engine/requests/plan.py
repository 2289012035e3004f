"""What follows from the header of a request, concluded once and shared by every request with the same header.

Records only; signature.py makes them.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Hashable, Sequence

    import numpy as np

    from sardonyx_server.engine.requests.lazy_strings import LazyStringSlice
    from sardonyx_server.engine.requests.parameters import RegionRef, RequestParameters
    from sardonyx_server.engine.requests.rendering import Rendering
    from sardonyx_server.engine.shared_memory.region import DeferredRead, FindRegion
    from sardonyx_wire.protobuf_fields import EncodedMessage
    from sardonyx_wire.response_template import OutputMetadata, ResponseTemplate

__all__ = ["Bucket", "Feed", "Plan", "Planner", "Tensor"]

# A tensor as it waits in a queue: little-endian numbers as bytes, or where those are; strings as a list
# of `str`, or where there are many as they came.
Tensor: TypeAlias = "bytes | memoryview | DeferredRead | list[str] | LazyStringSlice"

_MAX_TEMPLATES: Final = 8


class Feed:
    """One input of a bucket: what turns bytes of several requests into one array.

    Attributes:
        name: Name of the input.
        dtype: numpy's type; object for BYTES.
        row_shape: Dimensions behind the batch axis, or all of them where there is none.
        row_bytes: Bytes of one row (of the whole tensor where there is no batch axis); 0 for BYTES.
        row_elements: The same in elements.
    """

    __slots__ = ("dtype", "name", "row_bytes", "row_elements", "row_shape")

    def __init__(self, *, name: str, dtype: np.dtype[np.generic], row_shape: tuple[int, ...], is_bytes: bool) -> None:
        self.name = name
        self.dtype = dtype
        self.row_shape = row_shape
        self.row_elements = math.prod(row_shape)
        self.row_bytes = 0 if is_bytes else self.row_elements * dtype.itemsize


class Bucket:
    """A class of requests that may share a run: same inputs present, same row shapes, same outputs requested.

    Requests whose inputs are deferred reads may have buckets of their own: see ``BatchPolicy.deferred_read_rows``.

    Requests of the same bucket share one object, so queues compare buckets by identity.

    Attributes:
        feeds: Inputs that are present, in graph order.
        output_names: Requested outputs, in the order of the answer.
        has_batch_axis: Whether the first axis counts rows.
        deferred_reads: Whether all inputs lie in shared memory and are read by the run itself, so that batching them
            costs no extra copy. Set only where the row limit of such runs differs.
        digest: Cached prefix of the response cache's keys; None until it is needed.
    """

    __slots__ = ("__weakref__", "deferred_reads", "digest", "feeds", "has_batch_axis", "output_names")

    def __init__(
        self, *, feeds: tuple[Feed, ...], output_names: tuple[str, ...], has_batch_axis: bool, deferred_reads: bool
    ) -> None:
        self.feeds = feeds
        self.output_names = output_names
        self.has_batch_axis = has_batch_axis
        self.deferred_reads = deferred_reads
        self.digest: hashlib.blake2b | None = None


class Planner(Protocol):
    """Who makes plans: the signature of one model version."""

    model_name: str

    def output_heads(self, plan: Plan, row_shapes: tuple[tuple[int, ...], ...]) -> list[OutputMetadata]:
        """What the response to requests of this plan says of the outputs as the model gives them."""

    def response_template(self, heads: Sequence[OutputMetadata]) -> ResponseTemplate:
        """A response of this version with these outputs, without id and data."""


class Plan:
    """All that follows from a header for one model.

    Attributes:
        signature: Whose plan this is: a plan on a shared header may stem from another version.
        bucket: With whom the request may run.
        rows: Rows it brings; 1 where the model has no batch axis.
        priority: The ``priority`` parameter; 0 where there is none.
        timeout_s: The ``timeout`` parameter in seconds; infinity where there is none.
        region_refs: Where each input of the header lies in shared memory, None for one that was sent; () where all
            were.
        deferred_refs: Where the inputs lie, in the order of the bucket's feeds, where all lie in shared memory and need
            no look before the model runs; () elsewhere.
        single_payload_bytes: Size of the payload, where a request has one input, of numbers that are sent; -1
            elsewhere.
        region_bytes: What the inputs in shared memory take in all.
        rendering: What becomes of outputs that are not simply sent; None where all are.
    """

    __slots__ = (
        "_last",
        "_templates",
        "bucket",
        "deferred_refs",
        "order",
        "payload_bytes",
        "priority",
        "region_bytes",
        "region_refs",
        "rendering",
        "reorders",
        "rows",
        "signature",
        "single_payload_bytes",
        "timeout_s",
    )

    def __init__(  # noqa: PLR0913  # each says one thing of the header
        self,
        *,
        signature: Planner,
        bucket: Bucket,
        rows: int,
        order: tuple[int, ...],
        payload_bytes: list[int] | None,
        parameters: RequestParameters,
        region_refs: tuple[RegionRef | None, ...] = (),
        deferred_refs: tuple[RegionRef, ...] = (),
        rendering: Rendering | None = None,
    ) -> None:
        self.signature = signature
        self.bucket = bucket
        self.rows = rows
        self.order = order
        self.reorders = list(order) != sorted(order)
        self.payload_bytes = payload_bytes
        self.single_payload_bytes = payload_bytes[0] if payload_bytes is not None and len(payload_bytes) == 1 else -1
        self.priority = parameters.priority
        self.timeout_s = parameters.timeout_s
        self.region_refs = region_refs
        self.deferred_refs = deferred_refs
        self.region_bytes = sum(ref.byte_size for ref in region_refs if ref is not None)
        self.rendering = rendering
        self._templates: dict[Hashable, ResponseTemplate] = {}
        # The last answers of a run have the same dimensions, in the same object.
        self._last: tuple[tuple[tuple[int, ...], ...] | None, ResponseTemplate | None] = (None, None)

    def for_request(self, find_region: FindRegion) -> Plan:
        """This plan for one request: with the regions that its outputs go to, kept until it is answered.

        Raises:
            Forbidden: Shared memory is off.
            NotFound: No such region.
            InvalidRequest: An output's place is not within its region.
        """
        rendering = self.rendering
        if rendering is None or not rendering.uses_regions:
            return self
        plan = copy.copy(self)
        plan.rendering = rendering.bound(find_region)
        return plan

    def response(
        self, id_field: bytes, row_shapes: tuple[tuple[int, ...], ...], data: Sequence[bytes | memoryview]
    ) -> EncodedMessage:
        """The serialised ``ModelInferResponse``.

        Args:
            id_field: Wire bytes of the request's id.
            row_shapes: Dimensions of each output behind the batch axis.
            data: Raw contents of each output, for all rows of the request.

        Raises:
            ServerError: An output cannot be rendered as the request asks.
        """
        if self.rendering is not None:
            return self.rendering.response(self, id_field, row_shapes, data)
        last_tails, template = self._last
        if row_shapes is not last_tails or template is None:
            template = self.template(row_shapes, lambda: self.signature.output_heads(self, row_shapes))
            self._last = row_shapes, template
        return template.fill(id_field, data)

    def template(self, form: Hashable, heads: Callable[[], Sequence[OutputMetadata]]) -> ResponseTemplate:
        """A response without id and data, made once for each ``form``: equal forms must have equal heads."""
        template = self._templates.get(form)
        if template is None:
            template = self.signature.response_template(heads())
            # Output shapes may depend on values (a text's length): keep the last forms only.
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[form] = template
        return template
