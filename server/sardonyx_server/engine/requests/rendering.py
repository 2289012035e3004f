"""What becomes of outputs that are not simply sent: classes of them, or a place in shared memory.

A place is the output's own, of a size that the caller knows; or a request names one region for all its outputs,
whichever they are: large ones are put there as far as they fit, the rest is sent, and the answer says where each is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.requests.classification import TopClasses
from sardonyx_server.engine.requests.parameters import RegionRef, read_class_count, read_region_ref
from sardonyx_server.errors import InvalidRequest
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sardonyx_server.engine.requests.plan import Plan
    from sardonyx_server.engine.shared_memory.region import FindRegion, Region
    from sardonyx_wire.protobuf_fields import EncodedMessage
    from sardonyx_wire.request_reader import OutputHeader
    from sardonyx_wire.response_template import OutputMetadata
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Rendering", "read_rendering"]

# Smaller outputs are quicker in the message than by a system call of their own and a header that says where they are.
_LARGE_BYTES: Final = 32 * 1024
# What any datatype, and the widest vector instructions, want of an address.
_ALIGNMENT: Final = 64


class Rendering:
    """How the outputs of a request are answered.

    Args:
        ways: For each output asked for, in order: its classes, its place in shared memory, or None to send it; () where
            nothing is said of any.
        regions: Region of each output with a place; () until :meth:`bound`.
        output_region: Name of the region for all outputs of which nothing else is said; "" = none.
        room: That region; None until :meth:`bound`.
    """

    __slots__ = ("_output_region", "_regions", "_room", "_ways", "uses_regions")

    def __init__(
        self,
        ways: Sequence[TopClasses | RegionRef | None],
        regions: Sequence[Region | None] = (),
        *,
        output_region: str,
        room: Region | None = None,
    ) -> None:
        self._ways = tuple(ways)
        self._regions = tuple(regions)
        self._output_region = output_region
        self._room = room
        self.uses_regions = bool(output_region) or any(isinstance(way, RegionRef) for way in ways)

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
            if isinstance(way, RegionRef):
                region = find_region(way.region)
                region.check(way.offset, way.byte_size)
            regions.append(region)
        name = self._output_region
        return Rendering(self._ways, regions, output_region=name, room=find_region(name) if name else None)

    def response(
        self,
        plan: Plan,
        id_field: bytes,
        row_shapes: tuple[tuple[int, ...], ...],
        data: Sequence[bytes | memoryview],
    ) -> EncodedMessage:
        """See :meth:`Plan.response`. Writes to shared memory when every output is known to fit.

        Raises:
            InvalidRequest: An output takes more bytes than its place has, or its region has become smaller.
        """
        sent = list(data)
        writes: list[tuple[Region, int, bytes | memoryview]] = []
        # What the header says of each output beside its shape: a number of classes, a place, or nothing.
        said: list[int | RegionRef | None] = []
        room, free = self._room, 0
        for index, way in enumerate(self._ways or (None,) * len(sent)):
            contents = data[index]
            size = len(contents)
            place: RegionRef | None = None
            if isinstance(way, TopClasses):
                classes, sent[index] = way.render(contents, plan.rows)
                said.append(classes)
                continue
            if way is not None:
                region = self._regions[index]
                if region is None:
                    raise AssertionError("bug: the plan of a request holds no region for an output with a place")
                if size > way.byte_size:
                    raise InvalidRequest(
                        f"output '{plan.bucket.output_names[index]}' of model '{plan.signature.model_name}' takes "
                        f"{size} bytes, but its place in shared memory region {quoted(way.region)} has "
                        f"{way.byte_size}: ask for a larger 'shared_memory_byte_size'",
                        field=f"outputs[{index}].parameters[shared_memory_byte_size]",
                    )
                place = RegionRef(region=way.region, offset=way.offset, byte_size=size)
                writes.append((region, way.offset, contents))
            elif room is not None and _LARGE_BYTES <= size <= room.byte_size - free:
                place = RegionRef(region=room.name, offset=free, byte_size=size)
                writes.append((room, free, contents))
                free += -(-size // _ALIGNMENT) * _ALIGNMENT
            if place is not None:
                sent[index] = b""
            said.append(place)
        for writes_to, offset, contents in writes:
            writes_to.write(offset, contents)
        template = plan.template((row_shapes, *said), lambda: _heads(plan, row_shapes, said))
        return template.fill(id_field, sent)


def _heads(
    plan: Plan, row_shapes: tuple[tuple[int, ...], ...], said: Sequence[int | RegionRef | None]
) -> Sequence[OutputMetadata]:
    """What the response says of the outputs: of classes as BYTES, of places where they are."""
    heads = plan.signature.output_heads(plan, row_shapes)
    batch_dim = (plan.rows,) if plan.bucket.has_batch_axis else ()
    for index, (head, what) in enumerate(zip(heads, said, strict=True)):
        if isinstance(what, int):
            heads[index] = head._replace(datatype="BYTES", shape=(*batch_dim, what))
        elif what is not None:
            heads[index] = head._replace(
                parameters={
                    "shared_memory_region": what.region,
                    "shared_memory_byte_size": what.byte_size,
                    "shared_memory_offset": what.offset,
                }
            )
    return heads


def read_rendering(
    outputs: Sequence[OutputHeader], specs: Mapping[str, TensorSpec], model_name: str, *, output_region: str
) -> Rendering | None:
    """What the parameters of the requested outputs ask for; None where all are simply sent.

    Args:
        outputs: As requested; each is one of ``specs``.
        specs: Outputs of the model by name.
        model_name: For messages.
        output_region: Name of the region for all outputs of which nothing else is said; "" = none.

    Raises:
        InvalidRequest: A wrong type or value, parameters that contradict each other, or classes of what has none.
    """
    ways: list[TopClasses | RegionRef | None] = []
    for index, output in enumerate(outputs):
        what, field = f"output '{output.name}' of model '{model_name}'", f"outputs[{index}].parameters"
        place = read_region_ref(output.parameters, what=what, field=field)
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
    if output_region or any(way is not None for way in ways):
        return Rendering(ways, output_region=output_region)
    return None
