"""A handle of one model, which fetches the signature once and checks arguments against it before sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sardonyx_client._error_details import ErrorDetails
from sardonyx_client._errors import InvalidArgument
from sardonyx_client._inference import to_array
from sardonyx_client._timeout import CLIENT_DEFAULT, Deadline, resolve_timeout_s
from sardonyx_wire.datatypes import DATATYPES, for_dtype
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sardonyx_client._async_client import AsyncClient
    from sardonyx_client._client import Client
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import ModelInfo, ParameterValue, Result
    from sardonyx_wire.datatypes import Datatype

__all__ = ["AsyncModel", "Model", "check_inputs"]


def check_inputs(info: ModelInfo, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Arguments -> arrays in the order of the signature.

    Values without a dtype (Python numbers, lists) are converted to the model's; arrays keep theirs.

    Raises:
        InvalidArgument: An input is unknown, or has another datatype or shape; the message has both. Missing inputs are
            left to the server, because the protocol does not tell which are optional.
    """
    specs = {spec.name: spec for spec in info.inputs}
    unknown = [name for name in inputs if name not in specs]
    if unknown:
        known = ", ".join(f"{spec.name!r} {spec.describe()}" for spec in info.inputs)
        raise InvalidArgument(
            f"unknown input {unknown[0]!r} of model {info.name!r}: expected {known}",
            details=ErrorDetails(expected=known, got=repr(unknown[0])),
        )
    return {name: _checked(info.name, spec, inputs[name]) for name, spec in specs.items() if name in inputs}


def _checked(model: str, spec: TensorSpec, value: ArrayLike) -> NDArray[Any]:
    datatype = DATATYPES.get(spec.datatype)
    array = to_array(spec.name, value)
    if not hasattr(value, "dtype") and datatype is not None and datatype.itemsize and array.dtype.kind in "bifu":
        # A list has values but no width. A value that does not fit in the dtype is an error; it never wraps around.
        try:
            array = _as(datatype, value)
        except (OverflowError, TypeError, ValueError) as error:
            raise InvalidArgument(
                f"input {spec.name!r} of model {model!r}: expected {spec.describe()}: {error}",
                details=ErrorDetails(expected=spec.describe()),
            ) from error
    found = for_dtype(array.dtype)
    # In metadata, [] means both a scalar and a shape that the graph does not declare.
    fits = not spec.shape or (
        len(spec.shape) == array.ndim
        and all(want in (-1, size) for want, size in zip(spec.shape, array.shape, strict=True))
    )
    if found is None or found.name != spec.datatype or not fits:
        came = TensorSpec(name=spec.name, datatype=array.dtype.name if found is None else found.name, shape=array.shape)
        raise InvalidArgument(
            f"input {spec.name!r} of model {model!r}: expected {spec.describe()}, got {came.describe()}",
            details=ErrorDetails(expected=spec.describe(), got=came.describe()),
        )
    return array


def _as(datatype: Datatype, value: ArrayLike) -> NDArray[Any]:
    array = np.asarray(value, datatype.dtype)
    # numpy would truncate 1.7 to 1, and convert 2 to True.
    if array.dtype.kind in "biu" and not np.array_equal(array, np.asarray(value)):
        raise ValueError(f"a value is no {datatype.name}")
    return array


class Model:
    """One model of a server, from :meth:`Client.model`. Threads may share it.

    Attributes:
        name: Name of the model.
        version: That requests name; "" = the newest that is ready.
    """

    __slots__ = ("_client", "_info", "name", "version")

    def __init__(self, client: Client, name: str, version: str | int) -> None:
        self._client = client
        self._info: ModelInfo | None = None
        self.name = name
        self.version = str(version)

    def signature(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> ModelInfo:
        """Inputs and outputs; fetched from the server on first use, then cached."""
        if self._info is None:
            self._info = self._client.metadata(self.name, self.version, timeout_s=timeout_s)
        return self._info

    def infer(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
        **named_inputs: ArrayLike,
    ) -> Result:
        """Run the model once. As :meth:`Client.infer`, with arguments checked before they are sent.

        The first call also fetches the signature; ``timeout_s`` covers both.

        Raises:
            InvalidArgument: An argument does not match the signature; the message names it.
            ClientError: Any other failure.
        """
        given = {**(inputs or {}), **named_inputs}
        deadline = Deadline(resolve_timeout_s(timeout_s, self._client.timeout_s))
        arrays = check_inputs(self.signature(timeout_s=deadline.remaining_s), given)
        return self._client.infer(
            self.name,
            arrays,
            version=self.version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
            timeout_s=deadline.remaining_s,
        )


class AsyncModel:
    """One model of a server, from :meth:`AsyncClient.model`. See :class:`Model`."""

    __slots__ = ("_client", "_info", "name", "version")

    def __init__(self, client: AsyncClient, name: str, version: str | int) -> None:
        self._client = client
        self._info: ModelInfo | None = None
        self.name = name
        self.version = str(version)

    async def signature(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> ModelInfo:
        """See :meth:`Model.signature`."""
        if self._info is None:
            self._info = await self._client.metadata(self.name, self.version, timeout_s=timeout_s)
        return self._info

    async def infer(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
        **named_inputs: ArrayLike,
    ) -> Result:
        """See :meth:`Model.infer`."""
        given = {**(inputs or {}), **named_inputs}
        deadline = Deadline(resolve_timeout_s(timeout_s, self._client.timeout_s))
        arrays = check_inputs(await self.signature(timeout_s=deadline.remaining_s), given)
        return await self._client.infer(
            self.name,
            arrays,
            version=self.version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
            timeout_s=deadline.remaining_s,
        )
