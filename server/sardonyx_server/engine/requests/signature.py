"""What a model takes and gives, and the only check of requests against it.

What a header alone decides (``header_check`` and what follows from it) is concluded once, as a :class:`Plan`, and kept
on the header, which the wire reader shares between requests of the same form. What remains for each request is the size
of its payloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from sardonyx_server.engine.requests.header_validation import HeaderValidator
from sardonyx_server.engine.requests.input_decoding import deferred_refs, read_region_refs, read_tensors, tensor_bytes
from sardonyx_server.engine.requests.parameters import read_request_parameters
from sardonyx_server.engine.requests.plan import Bucket, Feed, Plan, Tensor
from sardonyx_server.engine.requests.rendering import read_rendering
from sardonyx_server.engine.shared_memory.region import FindRegion, shared_memory_is_off
from sardonyx_server.errors import ExecutionFailed
from sardonyx_server.repository.shapes import Reshape
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.response_template import OutputMetadata, ResponseTemplate
from sardonyx_wire.tensors import describe_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_wire.request_reader import Header
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Signature"]

_NO_RESHAPES: Final[Mapping[str, Reshape]] = MappingProxyType({})


class Signature:
    """The inputs and outputs of one model version.

    Args:
        model_name: For messages and responses.
        version: For responses.
        inputs: In graph order.
        outputs: In graph order.
        has_batch_axis: Whether the first axis of every tensor counts rows.
        input_reshapes: Input -> what the graph gets in place of the dims that callers send; the others pass as they
            are.
        output_reshapes: Output -> what callers get in place of the dims that the graph gives.
        separate_deferred_reads: Whether requests whose inputs are deferred reads form buckets of their own.
        max_rows: Most rows of one batch, of which a request may bring many; 0 = it may bring any number of rows.
    """

    __slots__ = (
        "_buckets",
        "_header_validator",
        "_input_reshapes",
        "_output_reshapes",
        "_outputs",
        "_separate_deferred_reads",
        "has_batch_axis",
        "inputs",
        "model_name",
        "outputs",
        "version",
    )

    def __init__(  # noqa: PLR0913 -- what a version takes and gives
        self,
        *,
        model_name: str,
        version: int,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        has_batch_axis: bool,
        input_reshapes: Mapping[str, Reshape] = _NO_RESHAPES,
        output_reshapes: Mapping[str, Reshape] = _NO_RESHAPES,
        separate_deferred_reads: bool = False,
        max_rows: int = 0,
    ) -> None:
        self.model_name = model_name
        self.version = version
        self.inputs = inputs
        self.outputs = outputs
        self.has_batch_axis = has_batch_axis
        self._input_reshapes = input_reshapes
        self._output_reshapes = output_reshapes
        self._separate_deferred_reads = separate_deferred_reads
        self._outputs = {spec.name: spec for spec in outputs}
        self._header_validator = HeaderValidator(
            model_name=model_name,
            inputs={spec.name: spec for spec in inputs},
            outputs=self._outputs,
            has_batch_axis=has_batch_axis,
            max_rows=max_rows,
        )
        # The caller's shapes make the keys: weak, so that a bucket lives as long as a plan or a job of it.
        self._buckets: WeakValueDictionary[tuple[object, ...], Bucket] = WeakValueDictionary()

    def check(
        self, header: Header, payloads: list[memoryview], find_region: FindRegion = shared_memory_is_off
    ) -> tuple[Plan, Sequence[Tensor]]:
        """Check a request.

        Args:
            header: As the wire reader gave it.
            payloads: Raw contents, in the order of the inputs that have no typed contents and are not in shared memory.
            find_region: Finds the regions of shared memory that the request names.

        Returns:
            The plan, and the tensors in the order of the plan's feeds: views of the payloads where they hold numbers.

        Raises:
            InvalidRequest: Says which input, what was expected and what came.
            Forbidden: The request names a region of shared memory, which is off.
            NotFound: No such region.
        """
        plan = header.plan
        if not isinstance(plan, Plan) or plan.signature is not self:
            plan = self._plan(header)
            header.plan = plan
        if len(payloads) == 1 and len(payloads[0]) == plan.single_payload_bytes:
            # One input of numbers, as most models have that are quick.
            return plan, payloads
        if plan.payload_bytes is None or list(map(len, payloads)) != plan.payload_bytes:
            request_plan = plan.for_request(find_region)
            if plan.deferred_refs and not payloads:
                region_refs = plan.deferred_refs
                return request_plan, [find_region(at.region).part(at.offset, at.byte_size) for at in region_refs]
            return request_plan, read_tensors(header, payloads, plan, find_region)
        return plan, [payloads[i] for i in plan.order] if plan.reorders else payloads

    def output_heads(self, plan: Plan, row_shapes: tuple[tuple[int, ...], ...]) -> list[OutputMetadata]:
        """What the response to requests of this plan says of the outputs as the model gives them.

        Args:
            plan: Of the request.
            row_shapes: Dimensions of each output behind the batch axis, as the graph gave them.

        Raises:
            ExecutionFailed: An output has other dimensions than its reshape starts from.
        """
        batch_dim = (plan.rows,) if self.has_batch_axis else ()
        return [
            OutputMetadata(name, self._outputs[name].datatype, batch_dim + self._caller_row_shape(name, row_shape))
            for name, row_shape in zip(plan.bucket.output_names, row_shapes, strict=True)
        ]

    def response_template(self, heads: Sequence[OutputMetadata]) -> ResponseTemplate:
        """A response of this version with these outputs, without id and data."""
        return ResponseTemplate(model_name=self.model_name, model_version=str(self.version), outputs=heads)

    def _plan(self, header: Header) -> Plan:
        rows = self._header_validator.check_inputs(header)
        parameters = read_request_parameters(header.parameters)
        output_names = self._header_validator.output_names(header)
        region_refs = read_region_refs(header.inputs, self.model_name)
        rendering = read_rendering(
            header.outputs, self._outputs, self.model_name, output_region=parameters.output_region
        )
        skip = 1 if self.has_batch_axis else 0
        position = {tensor.name: index for index, tensor in enumerate(header.inputs)}
        present = [spec for spec in self.inputs if spec.name in position]
        order = tuple(position[spec.name] for spec in present)
        row_shapes = tuple(
            self._graph_row_shape(spec.name, header.inputs[index].shape[skip:])
            for spec, index in zip(present, order, strict=True)
        )
        deferred = deferred_refs(header.inputs, region_refs, order)
        deferred_reads = self._separate_deferred_reads and bool(deferred)
        key = (tuple(spec.name for spec in present), row_shapes, output_names, deferred_reads)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = Bucket(
                feeds=tuple(
                    Feed(
                        name=spec.name,
                        dtype=DATATYPES[spec.datatype].dtype,
                        row_shape=row_shape,
                        is_bytes=spec.datatype == "BYTES",
                    )
                    for spec, row_shape in zip(present, row_shapes, strict=True)
                ),
                output_names=output_names,
                has_batch_axis=self.has_batch_axis,
                deferred_reads=deferred_reads,
            )
            self._buckets[key] = bucket
        # Strings must be decoded and a BOOL byte may be neither 0 nor 1; all else is right if its size is.
        raw_only = all(tensor.contents is None and tensor.datatype not in ("BYTES", "BOOL") for tensor in header.inputs)
        uses_regions = bool(region_refs) or (rendering is not None and rendering.uses_regions)
        return Plan(
            signature=self,
            bucket=bucket,
            rows=rows,
            order=order,
            payload_bytes=[tensor_bytes(tensor) for tensor in header.inputs] if raw_only and not uses_regions else None,
            parameters=parameters,
            region_refs=region_refs,
            deferred_refs=deferred,
            rendering=rendering,
        )

    def _graph_row_shape(self, name: str, row_shape: tuple[int, ...]) -> tuple[int, ...]:
        """What the graph gets for an input of these dimensions, which have passed the check."""
        reshape = self._input_reshapes.get(name)
        reshaped = reshape.for_graph(row_shape) if reshape is not None else row_shape
        if reshaped is None:
            raise AssertionError("bug: the check let dims pass from which the reshape does not start")
        return reshaped

    def _caller_row_shape(self, name: str, row_shape: tuple[int, ...]) -> tuple[int, ...]:
        """What callers get for an output of these dimensions."""
        reshape = self._output_reshapes.get(name)
        if reshape is None:
            return row_shape
        reshaped = reshape.for_caller(row_shape)
        if reshaped is None:
            lead = (-1,) if self.has_batch_axis else ()
            got, expected = describe_shape((*lead, *row_shape)), describe_shape((*lead, *reshape.graphs))
            raise ExecutionFailed(
                f"model '{self.model_name}' gave output '{name}' of shape {got}, but its config.pbtxt says {expected} "
                f"and reshapes that to {describe_shape((*lead, *reshape.callers))}; correct the config"
            )
        return reshaped
