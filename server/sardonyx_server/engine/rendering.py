"""What becomes of outputs that are not simply sent: classes of them, or a place in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.engine.classification import TopClasses
from sardonyx_server.engine.parameters import Place, read_class_count, read_place
from sardonyx_server.errors import InvalidRequest
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sardonyx_server.engine.plan import Plan
    from sardonyx_server.engine.region import FindRegion, Region
    from sardonyx_wire.requests import OutputHeader
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Rendering", "read_rendering"]


class Rendering:
    """How the outputs of a request are answered.

    Args:
        ways: For each output asked for, in order: its classes, its place in shared memory, or None to send it.
        regions: Region of each output with a place; () until :meth:`bound`.
    """

    __slots__ = ("_regions", "_ways", "uses_regions")

    def __init__(self, ways: Sequence[TopClasses | Place | None], regions: Sequence[Region | None] = ()) -> None:
        self._ways = tuple(ways)
        self._regions = tuple(regions)
        self.uses_regions = any(isinstance(way, Place) for way in ways)

    def bound(self, find_region: FindRegion) -> Rendering:
        """The same for one request, which keeps its regions although they may be unregistered meanwhile.

        Raises:
            Forbidden: Shared memory is off.
            NotFound: No such region.
            InvalidRequest: A place is not within its region.
        """
        regions: list[Region | None] = []
        for way in self._ways:
            region = None
            if isinstance(way, Place):
                region = find_region(way.region)
                region.check(way.offset, way.byte_size)
            regions.append(region)
        return Rendering(self._ways, regions)

    def response(
        self,
        plan: Plan,
        id_field: bytes,
        tails: tuple[tuple[int, ...], ...],
        data: Sequence[bytes | memoryview],
    ) -> bytes:
        """See :meth:`Plan.response`. Writes to shared memory when every output is known to fit.

        Raises:
            InvalidRequest: An output takes more bytes than its place has, or its region has become smaller.
        """
        heads = plan.signature.output_heads(plan, tails)
        sent = list(data)
        writes: list[tuple[Region, int, bytes | memoryview]] = []
        for index, (way, head) in enumerate(zip(self._ways, heads, strict=True)):
            if isinstance(way, TopClasses):
                classes, sent[index] = way.render(data[index], plan.rows)
                batch_dim = (plan.rows,) if plan.bucket.has_batch_axis else ()
                heads[index] = head._replace(datatype="BYTES", shape=(*batch_dim, classes))
            elif way is not None:
                size = len(data[index])
                if size > way.byte_size:
                    raise InvalidRequest(
                        f"output '{head.name}' of model '{plan.signature.model_name}' takes {size} bytes, but its "
                        f"place in shared memory region {quoted(way.region)} has {way.byte_size}: ask for a larger "
                        "'shared_memory_byte_size'",
                        field=f"outputs[{index}].parameters[shared_memory_byte_size]",
                    )
                region = self._regions[index]
                if region is None:
                    raise AssertionError("bug: the plan of a request holds no region for an output with a place")
                writes.append((region, way.offset, data[index]))
                sent[index] = b""
                heads[index] = head._replace(
                    parameters={
                        "shared_memory_region": way.region,
                        "shared_memory_byte_size": size,
                        "shared_memory_offset": way.offset,
                    }
                )
        for region, offset, contents in writes:
            region.write(offset, contents)
        return plan.signature.response_template(heads).fill(id_field, sent)


def read_rendering(
    outputs: Sequence[OutputHeader], specs: Mapping[str, TensorSpec], model_name: str
) -> Rendering | None:
    """What the parameters of the requested outputs ask for; None where all are simply sent.

    Args:
        outputs: As requested; each is one of ``specs``.
        specs: Outputs of the model by name.
        model_name: For messages.

    Raises:
        InvalidRequest: A wrong type or value, parameters that contradict each other, or classes of what has none.
    """
    ways: list[TopClasses | Place | None] = []
    for index, output in enumerate(outputs):
        what, field = f"output '{output.name}' of model '{model_name}'", f"outputs[{index}].parameters"
        place = read_place(output.parameters, what=what, field=field)
        classes = read_class_count(output.parameters, what=what, field=field)
        if place is not None and classes:
            raise InvalidRequest(
                f"{what} cannot have both 'classification' and 'shared_memory_region': take the classes in the "
                "message, or the values in shared memory",
                field=f"{field}[classification]",
            )
        if classes:
            ways.append(
                TopClasses(specs[output.name], classes, model_name=model_name, field=f"{field}[classification]")
            )
        else:
            ways.append(place)
    return Rendering(ways) if any(way is not None for way in ways) else None
