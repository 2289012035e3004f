"""Validates the header of a request against the inputs and outputs of a model: names, datatypes, shapes, rows.

No dimension reaches numpy unvalidated. The size of the data is checked in signature.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.text import quoted
from sardonyx_wire.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_wire.request_reader import Header, TensorHeader
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["HeaderValidator"]

# Most elements of one tensor. Keeps all products far below 2**63, where numpy's integers overflow silently.
_MAX_ELEMENTS: Final = 2**31 - 1
_MAX_RANK: Final = 32
_MAX_MESSAGE_DIMS: Final = 40
# Most parts that a request may be split into, because splitting takes time on the lane. The size of the message does
# not bound it, because rows without elements take no bytes: [2147483647,0] is a valid shape.
_MAX_PARTS: Final = 16_384


class HeaderValidator:
    """Validates headers for one model version.

    Args:
        model_name: For messages.
        inputs: By name, in graph order.
        outputs: By name, in graph order.
        has_batch_axis: Whether the first axis of every tensor counts rows.
        max_rows: Most rows of one batch; larger requests are split. 0 = a request may have any number of rows.
    """

    __slots__ = ("_has_batch_axis", "_inputs", "_max_rows", "_model_name", "_outputs")

    def __init__(
        self,
        *,
        model_name: str,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        has_batch_axis: bool,
        max_rows: int,
    ) -> None:
        self._model_name = model_name
        self._max_rows = max_rows
        self._inputs = inputs
        self._outputs = outputs
        self._has_batch_axis = has_batch_axis

    def check_inputs(self, header: Header) -> int:
        """Validate all inputs. Returns their number of rows; 1 if there is no batch axis.

        Raises:
            InvalidRequest: The message says which input, what was expected and what was received.
        """
        self._check_inputs(header)
        return self._common_rows(header) if self._has_batch_axis else 1

    def output_names(self, header: Header) -> tuple[str, ...]:
        """Return the requested outputs, in the order of the answer; all if none is named.

        Raises:
            InvalidRequest: One is unknown, or named twice.
        """
        if not header.outputs:
            return tuple(self._outputs)
        names: dict[str, None] = {}
        for index, output in enumerate(header.outputs):
            field = f"outputs[{index}]"
            if output.name not in self._outputs:
                known = ", ".join(repr(name) for name in self._outputs)
                raise InvalidRequest(
                    f"unknown output {quoted(output.name)} of model '{self._model_name}': expected {known}",
                    field=f"{field}.name",
                    expected=known,
                    got=quoted(output.name),
                )
            if output.name in names:
                raise InvalidRequest(
                    f"output '{output.name}' of model '{self._model_name}' is requested more than once",
                    field=f"{field}.name",
                )
            names[output.name] = None
        return tuple(names)

    def _check_inputs(self, header: Header) -> None:
        seen: set[str] = set()
        for index, tensor in enumerate(header.inputs):
            field = f"inputs[{index}]"
            if tensor.name not in self._inputs:
                raise InvalidRequest(
                    f"unknown input {quoted(tensor.name)} of model '{self._model_name}': expected {self._names()}",
                    field=f"{field}.name",
                    expected=self._names(),
                    got=quoted(tensor.name),
                )
            if tensor.name in seen:
                raise InvalidRequest(
                    f"input '{tensor.name}' of model '{self._model_name}' is given more than once",
                    field=f"{field}.name",
                )
            seen.add(tensor.name)
            self._check_tensor(tensor, field)
        missing = [spec for spec in self._inputs.values() if spec.name not in seen and not spec.optional]
        if missing:
            raise InvalidRequest(
                f"input '{missing[0].name}' of model '{self._model_name}' is missing: expected {missing[0].describe()}",
                field="inputs",
                expected=f"'{missing[0].name}' {missing[0].describe()}",
            )

    def _check_tensor(self, tensor: TensorHeader, field: str) -> None:
        """Validate datatype, rank and dimensions."""
        spec = self._inputs[tensor.name]
        if tensor.datatype != spec.datatype:
            raise self._unexpected(tensor, spec, f"{field}.datatype")
        shape = tensor.shape
        # A 0 counts as 1, because numpy rejects [0, 2**62] as well.
        if (
            len(shape) > _MAX_RANK
            or any(dim < 0 for dim in shape)
            or math.prod(dim or 1 for dim in shape) > _MAX_ELEMENTS
        ):
            more = f"; at most {_MAX_RANK} dimensions and {_MAX_ELEMENTS} elements, none negative"
            raise self._unexpected(tensor, spec, f"{field}.shape", more)
        if spec.shape is None:
            return
        if len(shape) != len(spec.shape) or any(
            want not in (-1, got) for want, got in zip(spec.shape, shape, strict=True)
        ):
            raise self._unexpected(tensor, spec, f"{field}.shape")

    def _unexpected(self, tensor: TensorHeader, spec: TensorSpec, field: str, more: str = "") -> InvalidRequest:
        dims = [str(dim) for dim in tensor.shape[:_MAX_MESSAGE_DIMS]]
        if len(tensor.shape) > _MAX_MESSAGE_DIMS:
            dims.append(f"... {len(tensor.shape)} dimensions")
        datatype = tensor.datatype if tensor.datatype in DATATYPES else quoted(tensor.datatype)
        got = f"{datatype} [{','.join(dims)}]"
        return InvalidRequest(
            f"input '{tensor.name}' of model '{self._model_name}': expected {spec.describe()}, got {got}{more}",
            field=field,
            expected=spec.describe(),
            got=got,
        )

    def _common_rows(self, header: Header) -> int:
        first = header.inputs[0]
        rows = first.shape[0]
        if rows == 0:
            raise InvalidRequest(
                f"input '{first.name}' of model '{self._model_name}': a batch needs at least 1 row, got 0",
                field="inputs[0].shape",
                expected="at least 1 row",
                got="0 rows",
            )
        for index, tensor in enumerate(header.inputs):
            if tensor.shape[0] != rows:
                raise InvalidRequest(
                    f"inputs of model '{self._model_name}' must have the same number of rows: '{first.name}' has "
                    f"{rows}, '{tensor.name}' has {tensor.shape[0]}",
                    field=f"inputs[{index}].shape",
                    expected=f"{rows} rows",
                    got=f"{tensor.shape[0]} rows",
                )
        if self._max_rows and rows > self._max_rows * _MAX_PARTS:
            raise self._too_many(rows)
        return rows

    def _too_many(self, rows: int) -> InvalidRequest:
        most = self._max_rows * _MAX_PARTS
        return InvalidRequest(
            f"request to model '{self._model_name}': expected at most {most} rows at a time ({_MAX_PARTS} batches of "
            f"{self._max_rows}), got {rows}; send fewer in each request, or raise max_batch_size in its config.pbtxt",
            field="inputs[0].shape",
        )

    def _names(self) -> str:
        return ", ".join(f"'{spec.name}' {spec.describe()}" for spec in self._inputs.values())
