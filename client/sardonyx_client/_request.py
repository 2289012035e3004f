"""An inference request: the arguments of ``infer``, validated and bundled."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sardonyx_client._errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sardonyx_client._values import ParameterValue

__all__ = ["Request", "build_request"]

_NO_PARAMETERS: Final[Mapping[str, ParameterValue]] = MappingProxyType({})


class Request(NamedTuple):
    """An inference request.

    A NamedTuple because each call creates one, and a frozen dataclass takes three times as long.

    Attributes:
        model: Name of the model.
        inputs: Name -> value, in the order to send.
        version: "" = the newest that is ready.
        outputs: Names wanted, in the order of the answer; () = all.
        request_id: Returned in the response.
        parameters: Request parameters.
    """

    model: str
    inputs: Mapping[str, ArrayLike]
    version: str = ""
    outputs: tuple[str, ...] = ()
    request_id: str = ""
    parameters: Mapping[str, ParameterValue] = _NO_PARAMETERS


def build_request(
    model: str,
    inputs: Mapping[str, ArrayLike] | None,
    named_inputs: Mapping[str, ArrayLike],
    version: str | int,
    outputs: Sequence[str] | None,
    request_id: str,
    parameters: Mapping[str, ParameterValue] | None,
) -> Request:
    """Build a request from the arguments of ``infer``.

    Raises:
        InvalidArgument: An input is given twice, or an argument has the wrong type.
    """
    if isinstance(outputs, str):
        raise InvalidArgument(f"outputs: expected a list of names, got the text {outputs!r}: write [{outputs!r}]")
    if not isinstance(request_id, str):
        raise InvalidArgument(f"request_id: expected str, got {type(request_id).__name__}")
    if inputs is None:
        inputs = named_inputs
    elif not isinstance(inputs, Mapping):
        raise InvalidArgument(
            f"inputs: expected a mapping from names to arrays, got {type(inputs).__name__}; "
            "inputs can also be given by name: infer(model, NAME=array)"
        )
    elif named_inputs:
        if repeated := inputs.keys() & named_inputs.keys():
            raise InvalidArgument(f"input {min(repeated)!r} is given twice: in the mapping and by name")
        inputs = {**inputs, **named_inputs}
    return Request(
        model,
        inputs,
        version if type(version) is str else str(version),
        tuple(outputs) if outputs else (),
        request_id,
        parameters or _NO_PARAMETERS,
    )
