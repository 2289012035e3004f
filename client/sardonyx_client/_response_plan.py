"""How to turn the data of an inference response into arrays, derived from its header. No I/O.

Responses are validated as strictly as a server validates requests, because any server may have sent them.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_client._errors import BadResponse
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import InferTensorContents
from sardonyx_wire.tensors import MAX_RANK, WireError, decode_raw, decode_typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_client._shm_pool.call_regions import CallRegions
    from sardonyx_client._values import ParameterValue
    from sardonyx_wire.datatypes import Datatype
    from sardonyx_wire.request_reader import TensorHeader
    from sardonyx_wire.response_reader import ResponseHeader

__all__ = ["ResponsePlan"]

_NO_CONTENTS: Final = InferTensorContents()
_PLACE: Final = ("shared_memory_offset", "shared_memory_byte_size")


class ResponsePlan:
    """The decoding plan of responses with one header; computed once for each header.

    Raises:
        BadResponse: The header violates the protocol.
    """

    __slots__ = ("_outputs", "parameters", "places")

    def __init__(self, header: ResponseHeader) -> None:
        seen: set[str] = set()
        outputs: list[tuple[TensorHeader, Datatype, int | None]] = []
        for output in header.outputs:
            datatype = DATATYPES.get(output.datatype)
            if datatype is None:
                raise BadResponse(f"output {output.name!r}: unknown datatype {output.datatype!r} in the answer")
            if output.name in seen:
                raise BadResponse(f"output {output.name!r} is in the answer twice")
            seen.add(output.name)
            # Numbers need no check beyond their size. BOOL does: a byte may be neither 0 nor 1.
            plain = datatype.itemsize and datatype.name != "BOOL" and len(output.shape) <= MAX_RANK
            plain = plain and all(size > 0 for size in output.shape)
            outputs.append((output, datatype, math.prod(output.shape) * datatype.itemsize if plain else None))
        self._outputs = tuple(outputs)
        self.parameters: Mapping[str, ParameterValue] = MappingProxyType(header.parameters)
        # Index of each output in shared memory -> (region, offset, bytes).
        self.places = {
            index: (output.parameters["shared_memory_region"], *map(output.parameters.get, _PLACE))
            for index, output in enumerate(header.outputs)
            if "shared_memory_region" in output.parameters
        }

    def with_shared_memory(
        self, payloads: Sequence[memoryview], call_regions: CallRegions | None
    ) -> Sequence[memoryview]:
        """Replace the empty payloads of outputs in shared memory with views of it.

        Raises:
            BadResponse: An output is outside the region that the server was given.
        """
        found = list(payloads)
        for index, (region, offset, size_bytes) in self.places.items():
            view = None
            if (
                call_regions is not None
                and isinstance(offset, int)
                and isinstance(size_bytes, int)
                and index < len(found)
            ):
                view = call_regions.output_view(region, offset, size_bytes)
            if view is None:
                raise BadResponse(
                    f"output {self._outputs[index][0].name!r} is in shared memory region {region!r} at {offset} with "
                    f"{size_bytes} bytes, where the call gave the server no room"
                )
            found[index] = view
        return found

    def arrays(self, header: ResponseHeader, payloads: Sequence[memoryview]) -> dict[str, NDArray[Any]]:
        """Output name -> array.

        Raises:
            BadResponse: The data does not match the header.
        """
        if payloads and len(payloads) != len(header.outputs):
            raise BadResponse(f"expected {len(header.outputs)} raw outputs in the answer, got {len(payloads)}")
        arrays: dict[str, NDArray[Any]] = {}
        for index, (output, datatype, size_bytes) in enumerate(self._outputs):
            try:
                # MLServer sends empty contents in addition to raw data.
                if payloads and (output.contents is None or not output.contents.ByteSize()):
                    payload = payloads[index]
                    if len(payload) == size_bytes:
                        arrays[output.name] = np.ndarray(output.shape, datatype.dtype, payload)
                    else:
                        arrays[output.name] = decode_raw(datatype, output.shape, payload)
                else:
                    arrays[output.name] = decode_typed(datatype, output.shape, output.contents or _NO_CONTENTS)
            except WireError as error:
                raise BadResponse(f"output {output.name!r}: {error}") from error
        return arrays
