"""The command ``infer``: sends one inference request, with values from the command line, to a running server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sardonyx_server.cli.client_tls import NO_TLS, ClientTls
from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.output import write_json, write_line
from sardonyx_server.cli.values import parse_inputs, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_client import Client, ClientError
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["InferOptions", "describe_error", "open_client", "result_to_json", "run_infer"]

# Limit for printing a tensor as text; --json always prints all of it.
_SHOWN_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """The arguments of ``infer``. An empty version means the newest, empty outputs mean all."""

    model: str
    version: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    request_id: str


def run_infer(
    options: InferOptions,
    *,
    url: str,
    timeout_s: float,
    as_json: bool,
    metadata: Iterable[tuple[str, str]] = (),
    tls: ClientTls = NO_TLS,
) -> int:
    """Sends one request and prints the answer.

    Args:
        options: The request.
        url: ``host:port`` of the server.
        timeout_s: Timeout of each call: for the signature, and for the inference.
        as_json: JSON with every value instead of text.
        metadata: Sent with each call.
        tls: TLS of the connection.

    Raises:
        InvalidRequest: A value does not fit the model's signature.
        CliError: The address is invalid, or the server cannot be reached or refused the request.
    """
    from sardonyx_client import ClientError

    try:
        with open_client(url, timeout_s=timeout_s, metadata=metadata, tls=tls) as client:
            info = client.metadata(options.model, options.version)
            arrays = parse_inputs(options.arguments, info.inputs, model=options.model)
            result = client.infer(
                options.model,
                {spec.name: _sendable(arrays[spec.name], spec) for spec in info.inputs if spec.name in arrays},
                version=options.version,
                outputs=options.outputs or None,
                request_id=options.request_id,
            )
    except ClientError as error:
        raise CliError(ExitCode.REQUEST_FAILED, describe_error(error, url)) from None
    answer = result_to_json(
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
    return int(ExitCode.OK)


def open_client(
    url: str,
    *,
    timeout_s: float,
    metadata: Iterable[tuple[str, str]] = (),
    tls: ClientTls = NO_TLS,
    option: str = "--url",
) -> Client:
    """A client for an address from the command line.

    Args:
        url: The address.
        timeout_s: Timeout of its calls.
        metadata: Sent with its calls.
        tls: TLS of its connection.
        option: The option that named the address, for the message.

    Raises:
        CliError: The address is invalid, or the files for TLS.
    """
    from sardonyx_client import Client, InvalidArgument

    options = tls.options()
    try:
        return Client(url, timeout_s=timeout_s, metadata=dict(metadata), tls=options)
    except InvalidArgument as error:
        raise CliError(ExitCode.USAGE, f"{option}: {error.message}") from None


def result_to_json(
    outputs: Mapping[str, NDArray[Any]], datatypes: Mapping[str, str], *, model: str, version: str, request_id: str
) -> dict[str, Any]:
    """The response as JSON values, as ``--json`` prints them."""
    answer: dict[str, Any] = {"model": model, "version": version}
    if request_id:
        answer["id"] = request_id
    answer["outputs"] = [
        {"name": name, "datatype": datatypes[name], "shape": list(array.shape), "data": to_json(array, datatypes[name])}
        for name, array in outputs.items()
    ]
    return answer


def _sendable(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Give BF16 data the dtype of ml_dtypes: the client distinguishes BF16 from UINT16 by dtype, and numpy has none."""
    if spec.datatype != "BF16":
        return array
    try:
        import ml_dtypes
    except ImportError:
        raise CliError(
            ExitCode.USAGE, f"input {spec.name!r} is BF16: sending it needs 'pip install ml_dtypes'"
        ) from None
    return array.view(ml_dtypes.bfloat16)


def describe_error(error: ClientError, url: str, *, with_tls: str = "add --tls, or --ca FILE") -> str:
    """A failed call as one line: status, the server's message, and which server, or how to start one.

    Args:
        error: The failure.
        url: The address of the server.
        with_tls: What to do if the server speaks TLS and the client does not.
    """
    from sardonyx_client import Unavailable

    status = error.code.name if error.code is not None else type(error).__name__
    if "does not speak HTTP/2 without TLS" in error.message:
        where = f" (server {url}; if it speaks TLS: {with_tls})"
    elif isinstance(error, Unavailable) and not error.reason:  # no server has answered at all
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
