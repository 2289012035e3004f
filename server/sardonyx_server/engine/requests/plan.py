"""The request plan: all that follows from the header of a request, computed once for all requests with that header.

Records only; signature.py creates them.
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

# A tensor of a queued request: little-endian numbers as bytes or as a deferred read; strings as a list of `str`, or as
# lazy strings if there are many.
Tensor: TypeAlias = "bytes | memoryview | DeferredRead | list[str] | LazyStringSlice"

_MAX_TEMPLATES: Final = 8


class Feed:
    """One input of a bucket: how the bytes of several requests become one array.

    Attributes:
        name: Name of the input.
        dtype: numpy's type; object for BYTES.
        row_shape: Shape of a row, without the batch axis; the whole shape if there is no batch axis.
        row_bytes: Bytes of one row, or of the whole tensor if there is no batch axis; 0 for BYTES.
        row_elements: Elements of one row, or of the whole tensor.
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
    """Creates plans: the signature of one model version."""

    model_name: str

    def output_heads(self, plan: Plan, row_shapes: tuple[tuple[int, ...], ...]) -> list[OutputMetadata]:
        """Return the metadata of the outputs in responses to requests of this plan."""

    def response_template(self, heads: Sequence[OutputMetadata]) -> ResponseTemplate:
        """Create the template of a response of this version with these outputs."""


class Plan:
    """All that follows from a request header for one model version.

    Attributes:
        signature: The signature that created it. A plan cached on a header may be from another version.
        bucket: The requests with which it may share a run.
        rows: Rows of the request; 1 if the model has no batch axis.
        priority: The ``priority`` parameter; 0 if there is none.
        timeout_s: The ``timeout`` parameter in seconds; infinity if there is none.
        order: Index of each feed's input in the header.
        reorders: Whether payloads must be reordered to the order of the feeds.
        payload_bytes: Expected size of each payload; None if the inputs are not all plain raw numbers.
        region_refs: Where each input of the header lies in shared memory: None for one that is sent; () if all are.
        deferred_refs: Where the inputs lie, in the order of the feeds, if all can be deferred reads; else ().
        single_payload_bytes: Expected size of the payload if there is a single input, of raw numbers; else -1.
        region_bytes: Total size of the inputs in shared memory.
        rendering: How outputs are answered if they are not all simply sent; else None.
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

    def __init__(  # noqa: PLR0913  # each is one fact of the header
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
        # Answers of one run share the row_shapes object, so comparing its identity is enough to reuse the template.
        self._last: tuple[tuple[tuple[int, ...], ...] | None, ResponseTemplate | None] = (None, None)

    def for_request(self, find_region: FindRegion) -> Plan:
        """Return this plan for one request, bound to the regions of its outputs until it is answered.

        Raises:
            Forbidden: Shared memory is off.
            NotFound: No such region.
            InvalidRequest: The space for an output is not within its region.
        """
        rendering = self.rendering
        if rendering is None or not rendering.uses_regions:
            return self
        plan = copy.copy(self)
        plan.rendering = rendering.bind(find_region)
        return plan

    def response(
        self, id_field: bytes, row_shapes: tuple[tuple[int, ...], ...], data: Sequence[bytes | memoryview]
    ) -> EncodedMessage:
        """Serialise the ``ModelInferResponse``.

        Args:
            id_field: Wire bytes of the request's id.
            row_shapes: Shape of a row of each output.
            data: Raw contents of each output, for all rows of the request.

        Raises:
            ServerError: An output cannot be rendered as the request asks.
        """
        if self.rendering is not None:
            return self.rendering.response(self, id_field, row_shapes, data)
        last_shapes, template = self._last
        if row_shapes is not last_shapes or template is None:
            template = self.template(row_shapes, lambda: self.signature.output_heads(self, row_shapes))
            self._last = row_shapes, template
        return template.fill(id_field, data)

    def template(self, key: Hashable, heads: Callable[[], Sequence[OutputMetadata]]) -> ResponseTemplate:
        """Return the response template for a cache key, created once. Requires: equal keys have equal heads."""
        template = self._templates.get(key)
        if template is None:
            template = self.signature.response_template(heads())
            # Output shapes may depend on input values, such as the length of a text: the cache must be bounded.
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[key] = template
        return template
