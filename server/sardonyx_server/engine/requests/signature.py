"""The signature of a model version, its inputs and outputs, and the only validation of requests against it.

All that depends on the header alone is validated once and cached as a :class:`Plan` on the header, which the wire
reader shares between requests with equal headers. What remains for each request is the check of its payload sizes.
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
        input_reshapes: Input name -> reshape from the dims that callers send to those of the graph; others are
            unchanged.
        output_reshapes: Output name -> reshape from the dims of the graph to those that callers get.
        separate_deferred_reads: Whether requests whose inputs are deferred reads form buckets of their own.
        max_rows: Most rows of one batch; larger requests are split. 0 = a request may have any number of rows.
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

    def __init__(  # noqa: PLR0913 -- the whole interface of a version
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
        # Callers choose the shapes in the keys. Weak values bound the cache: a bucket lives as long as a plan or job
        # has it.
        self._buckets: WeakValueDictionary[tuple[object, ...], Bucket] = WeakValueDictionary()

    def check(
        self, header: Header, payloads: list[memoryview], find_region: FindRegion = shared_memory_is_off
    ) -> tuple[Plan, Sequence[Tensor]]:
        """Validate a request, and return its plan and tensors.

        Args:
            header: As decoded by the wire reader. Its ``plan`` is set.
            payloads: Raw contents, in the order of the inputs that have no typed contents and are not in shared memory.
            find_region: Finds the shared memory regions that the request names.

        Returns:
            (plan, tensors in the order of the plan's feeds). Tensors of numbers are views of the payloads.

        Raises:
            InvalidRequest: The message says which input, what was expected and what was received.
            Forbidden: The request names a region of shared memory, which is off.
            NotFound: No such region.
        """
        plan = header.plan
        if not isinstance(plan, Plan) or plan.signature is not self:
            plan = self._make_plan(header)
            header.plan = plan
        if len(payloads) == 1 and len(payloads[0]) == plan.single_payload_bytes:
            # Fast path: a single input of raw numbers, as most fast models have.
            return plan, payloads
        if plan.payload_bytes is None or list(map(len, payloads)) != plan.payload_bytes:
            request_plan = plan.for_request(find_region)
            if plan.deferred_refs and not payloads:
                region_refs = plan.deferred_refs
                return request_plan, [find_region(at.region).part(at.offset, at.byte_size) for at in region_refs]
            return request_plan, read_tensors(header, payloads, plan, find_region)
        return plan, [payloads[i] for i in plan.order] if plan.reorders else payloads

    def output_heads(self, plan: Plan, row_shapes: tuple[tuple[int, ...], ...]) -> list[OutputMetadata]:
        """Return the metadata of the outputs in responses to requests of this plan.

        Args:
            plan: Plan of the request.
            row_shapes: Shape of a row of each output, as returned by the graph.

        Raises:
            ExecutionFailed: An output does not have the dims that its reshape expects.
        """
        batch_dim = (plan.rows,) if self.has_batch_axis else ()
        return [
            OutputMetadata(name, self._outputs[name].datatype, batch_dim + self._caller_row_shape(name, row_shape))
            for name, row_shape in zip(plan.bucket.output_names, row_shapes, strict=True)
        ]

    def response_template(self, heads: Sequence[OutputMetadata]) -> ResponseTemplate:
        """Create the template of a response of this version with these outputs."""
        return ResponseTemplate(model_name=self.model_name, model_version=str(self.version), outputs=heads)

    def _make_plan(self, header: Header) -> Plan:
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
        # Strings must be decoded, and BOOL bytes may be neither 0 nor 1. All other data are valid if their size is.
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
        """Reshape the row shape of an input, which has been validated, to the dims of the graph."""
        reshape = self._input_reshapes.get(name)
        reshaped = reshape.for_graph(row_shape) if reshape is not None else row_shape
        if reshaped is None:
            raise AssertionError("bug: the check let dims pass from which the reshape does not start")
        return reshaped

    def _caller_row_shape(self, name: str, row_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Reshape the row shape of an output to the dims that callers get."""
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
