"""The verb ``infer``: asks a running server for one prediction, with values from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sardonyx_server.cli.exits import Exit, ExitWith
from sardonyx_server.cli.output import write_json, write_line
from sardonyx_server.cli.values import parse_inputs, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_client import Client, ClientError
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Question", "client_of", "describe_answer", "described", "run_infer"]

# What is printed of a tensor for a person; --json always has all of it.
_SHOWN_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request as typed. An empty version is the newest; no outputs means all."""

    model: str
    version: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    request_id: str


def run_infer(question: Question, *, url: str, timeout_s: float, as_json: bool) -> int:
    """Sends one request and prints the answer.

    Args:
        question: What to ask.
        url: ``host:port`` of the server.
        timeout_s: Longest wait, for the signature and for the answer each.
        as_json: JSON with every value, instead of lines.

    Raises:
        InvalidRequest: A value does not fit the model's signature.
        ExitWith: The address is none, or the server cannot be reached, or refused the request.
    """
    from sardonyx_client import ClientError

    try:
        with client_of(url, timeout_s=timeout_s) as client:
            info = client.metadata(question.model, question.version)
            arrays = parse_inputs(question.arguments, info.inputs, model=question.model)
            result = client.infer(
                question.model,
                {spec.name: _sendable(arrays[spec.name], spec) for spec in info.inputs if spec.name in arrays},
                version=question.version,
                outputs=question.outputs or None,
                request_id=question.request_id,
            )
    except ClientError as error:
        raise ExitWith(Exit.REQUEST_FAILED, described(error, url)) from None
    answer = describe_answer(
        result,
        {spec.name: spec.datatype for spec in info.outputs},
        model=result.model_name,
        version=result.model_version,
        request_id=result.request_id,
    )
    if as_json:
        write_json(answer)
    else:
        _print(answer)
    return int(Exit.OK)


def client_of(url: str, *, timeout_s: float, option: str = "--url") -> Client:
    """A client of the server that a person named.

    Args:
        url: As typed.
        timeout_s: Of its calls.
        option: Where it was typed, for the message.

    Raises:
        ExitWith: It is no address.
    """
    from sardonyx_client import Client, InvalidArgument

    try:
        return Client(url, timeout_s=timeout_s)
    except InvalidArgument as error:
        raise ExitWith(Exit.USAGE, f"{option}: {error.message}") from None


def describe_answer(
    outputs: Mapping[str, NDArray[Any]], datatypes: Mapping[str, str], *, model: str, version: str, request_id: str
) -> dict[str, Any]:
    """The answer as plain values; the form of ``--json``."""
    answer: dict[str, Any] = {"model": model, "version": version}
    if request_id:
        answer["id"] = request_id
    answer["outputs"] = [
        {"name": name, "datatype": datatypes[name], "shape": list(array.shape), "data": to_json(array, datatypes[name])}
        for name, array in outputs.items()
    ]
    return answer


def _sendable(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """The client tells BF16 from UINT16 by the dtype alone, and numpy by itself has none for it."""
    if spec.datatype != "BF16":
        return array
    try:
        import ml_dtypes
    except ImportError:
        raise ExitWith(Exit.USAGE, f"input {spec.name!r} is BF16: sending it needs 'pip install ml_dtypes'") from None
    return array.view(ml_dtypes.bfloat16)


def described(error: ClientError, url: str) -> str:
    """A failed call on one line: status, the server's own words, and which server, or how to start one."""
    from sardonyx_client import Unavailable

    status = error.code.name if error.code is not None else type(error).__name__
    if isinstance(error, Unavailable) and not error.reason:  # nothing that speaks for a server has answered
        where = f" (is a server listening on {url}? 'sardonyx serve PATH' starts one)"
    else:
        where = "" if url in error.message else f" (server {url})"
    return f"{status}: {' '.join(error.message.split())}{where}"


def _print(answer: Mapping[str, Any]) -> None:
    tensors: Sequence[Mapping[str, Any]] = answer["outputs"]
    for tensor in tensors:
        shape = ",".join(map(str, tensor["shape"]))
        values = str(tensor["data"])
        if len(values) > _SHOWN_CHARACTERS:
            values = f"{values[:_SHOWN_CHARACTERS]}... (--json prints all)"
        write_line(f"{tensor['name']}  {tensor['datatype']} [{shape}]  {values}")
