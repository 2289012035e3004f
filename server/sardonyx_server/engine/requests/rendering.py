"""Renders outputs that are not simply sent: as classes, or into shared memory.

An output may have its own space in shared memory, of a size that the caller knows. Or a request names one region for
all its outputs: large ones are written there as far as they fit, the others are sent, and the answer says where each
is.
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

# Smaller outputs are sent: that is faster than a system call to write them and parameters that say where they are.
_LARGE_BYTES: Final = 32 * 1024
# Alignment that suffices for every datatype and for the widest vector instructions.
_ALIGNMENT: Final = 64


class Rendering:
    """How the outputs of a request are answered.

    Args:
        targets: For each requested output, in order: its classes, its reference to shared memory, or None to send it;
            () if all are None.
        regions: Region of each output with a reference; () until :meth:`bind`.
        output_region: Name of the region for all outputs without a target; "" = none.
        bound_region: That region; None until :meth:`bind`.
    """

    __slots__ = ("_bound_region", "_output_region", "_regions", "_targets", "uses_regions")

    def __init__(
        self,
        targets: Sequence[TopClasses | RegionRef | None],
        regions: Sequence[Region | None] = (),
        *,
        output_region: str,
        bound_region: Region | None = None,
    ) -> None:
        self._targets = tuple(targets)
        self._regions = tuple(regions)
        self._output_region = output_region
        self._bound_region = bound_region
        self.uses_regions = bool(output_region) or any(isinstance(target, RegionRef) for target in targets)

    def bind(self, find_region: FindRegion) -> Rendering:
        """Return this rendering with its regions looked up. They stay usable even if they are unregistered meanwhile.

        Raises:
            Forbidden: Shared memory is off.
            NotFound: No such region.
            InvalidRequest: A reference is not within its region.
        """
        regions: list[Region | None] = []
        for target in self._targets:
            region = None
            if isinstance(target, RegionRef):
                region = find_region(target.region)
                region.check(target.offset, target.byte_size)
            regions.append(region)
        name = self._output_region
        return Rendering(self._targets, regions, output_region=name, bound_region=find_region(name) if name else None)

    def response(
        self,
        plan: Plan,
        id_field: bytes,
        row_shapes: tuple[tuple[int, ...], ...],
        data: Sequence[bytes | memoryview],
    ) -> EncodedMessage:
        """See :meth:`Plan.response`. Writes to shared memory only when all outputs are known to fit.

        Raises:
            InvalidRequest: An output is larger than its space, or its region has become smaller.
        """
        sent = list(data)
        writes: list[tuple[Region, int, bytes | memoryview]] = []
        # Of each output: its number of classes, its reference to shared memory, or None if it is sent.
        results: list[int | RegionRef | None] = []
        shared, free = self._bound_region, 0
        for index, target in enumerate(self._targets or (None,) * len(sent)):
            contents = data[index]
            size = len(contents)
            ref: RegionRef | None = None
            if isinstance(target, TopClasses):
                classes, sent[index] = target.render(contents, plan.rows)
                results.append(classes)
                continue
            if target is not None:
                region = self._regions[index]
                if region is None:
                    raise AssertionError("bug: the plan of a request holds no region for an output with a place")
                if size > target.byte_size:
                    raise InvalidRequest(
                        f"output '{plan.bucket.output_names[index]}' of model '{plan.signature.model_name}' takes "
                        f"{size} bytes, but its place in shared memory region {quoted(target.region)} has "
                        f"{target.byte_size}: ask for a larger 'shared_memory_byte_size'",
                        field=f"outputs[{index}].parameters[shared_memory_byte_size]",
                    )
                ref = RegionRef(region=target.region, offset=target.offset, byte_size=size)
                writes.append((region, target.offset, contents))
            elif shared is not None and _LARGE_BYTES <= size <= shared.byte_size - free:
                ref = RegionRef(region=shared.name, offset=free, byte_size=size)
                writes.append((shared, free, contents))
                free += -(-size // _ALIGNMENT) * _ALIGNMENT
            if ref is not None:
                sent[index] = b""
            results.append(ref)
        for writes_to, offset, contents in writes:
            writes_to.write(offset, contents)
        template = plan.template((row_shapes, *results), lambda: _heads(plan, row_shapes, results))
        return template.fill(id_field, sent)


def _heads(
    plan: Plan, row_shapes: tuple[tuple[int, ...], ...], results: Sequence[int | RegionRef | None]
) -> Sequence[OutputMetadata]:
    """Return the metadata of the outputs: classes as BYTES, and references to shared memory as parameters."""
    heads = plan.signature.output_heads(plan, row_shapes)
    batch_dim = (plan.rows,) if plan.bucket.has_batch_axis else ()
    for index, (head, result) in enumerate(zip(heads, results, strict=True)):
        if isinstance(result, int):
            heads[index] = head._replace(datatype="BYTES", shape=(*batch_dim, result))
        elif result is not None:
            heads[index] = head._replace(
                parameters={
                    "shared_memory_region": result.region,
                    "shared_memory_byte_size": result.byte_size,
                    "shared_memory_offset": result.offset,
                }
            )
    return heads


def read_rendering(
    outputs: Sequence[OutputHeader], specs: Mapping[str, TensorSpec], model_name: str, *, output_region: str
) -> Rendering | None:
    """Read the parameters of the requested outputs; None if all are simply sent.

    Args:
        outputs: The requested outputs; each is one of ``specs``.
        specs: Outputs of the model, by name.
        model_name: For messages.
        output_region: Name of the region for all outputs without a target; "" = none.

    Raises:
        InvalidRequest: A wrong type or value, contradictory parameters, or classes of an output that has none.
    """
    targets: list[TopClasses | RegionRef | None] = []
    for index, output in enumerate(outputs):
        what, field = f"output '{output.name}' of model '{model_name}'", f"outputs[{index}].parameters"
        ref = read_region_ref(output.parameters, what=what, field=field)
        classes = read_class_count(output.parameters, what=what, field=field)
        if ref is not None and classes:
            raise InvalidRequest(
                f"{what} cannot have both 'classification' and 'shared_memory_region': take the classes in the "
                "message, or the values in shared memory",
                field=f"{field}[classification]",
            )
        if classes:
            targets.append(
                TopClasses(specs[output.name], classes, model_name=model_name, field=f"{field}[classification]")
            )
        else:
            targets.append(ref)
    if output_region or any(target is not None for target in targets):
        return Rendering(targets, output_region=output_region)
    return None
