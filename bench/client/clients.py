"""One inference call with each client, from arrays to arrays, as its user would write it. Measures nothing.

Each function imports its own client on first use, because each runs in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ASYNC", "SYNC", "Arrays", "CallSpec"]

Arrays = Mapping[str, NDArray[Any]]

_NUMPY: Final = {"FP32": np.float32, "INT64": np.int64}
_DATATYPES: Final = {np.dtype(dtype): name for name, dtype in _NUMPY.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """The call to make.

    Attributes:
        address: Host and port.
        model: Its name.
        inputs: Input name -> array.
        outputs: Names of the outputs to read.
        stubs: Folder of the generated stub.
    """

    address: str
    model: str
    inputs: Arrays
    outputs: tuple[str, ...]
    stubs: str


@contextmanager
def sardonyx(spec: CallSpec, *, share: bool = True) -> Iterator[Callable[[], Arrays]]:
    """This project's client. ``share``: use shared memory for large tensors if the server allows it."""
    from sardonyx_client import Client, Share

    with Client(spec.address, share=Share() if share else None) as client:

        def call() -> Arrays:
            result = client.infer(spec.model, spec.inputs)
            return {name: result[name] for name in spec.outputs}

        yield call


@contextmanager
def sent(spec: CallSpec) -> Iterator[Callable[[], Arrays]]:
    """The same, with every tensor in the message."""
    with sardonyx(spec, share=False) as call:
        yield call


@contextmanager
def triton(spec: CallSpec) -> Iterator[Callable[[], Arrays]]:
    """Tritonclient."""
    from tritonclient.grpc import InferenceServerClient, InferInput

    with InferenceServerClient(spec.address) as client:

        def call() -> Arrays:
            result = client.infer(spec.model, _triton_inputs(InferInput, spec.inputs))
            return {name: result.as_numpy(name) for name in spec.outputs}

        yield call


@contextmanager
def stub(spec: CallSpec) -> Iterator[Callable[[], Arrays]]:
    """What grpc_tools generates from the .proto files, and protobuf."""
    sys.path.insert(0, spec.stubs)
    import grpc

    messages: Any = import_module("inference.grpc_service_pb2")
    services: Any = import_module("inference.grpc_service_pb2_grpc")
    with grpc.insecure_channel(spec.address) as channel:
        service = services.GRPCInferenceServiceStub(channel)

        def call() -> Arrays:
            request = messages.ModelInferRequest(model_name=spec.model)
            for name, array in spec.inputs.items():
                request.inputs.add(name=name, datatype=_DATATYPES[array.dtype], shape=array.shape)
                request.raw_input_contents.append(array.tobytes())
            answer = service.ModelInfer(request)
            return {
                output.name: np.frombuffer(raw, _NUMPY[output.datatype]).reshape(output.shape)
                for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
            }

        yield call


@asynccontextmanager
async def sardonyx_async(spec: CallSpec, *, joined: bool = False) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """This project's asynchronous client. ``joined``: concurrent calls become one request."""
    from sardonyx_client import AsyncClient, Coalesce

    async with AsyncClient(spec.address, coalesce=Coalesce() if joined else None) as client:

        async def call() -> Arrays:
            result = await client.infer(spec.model, spec.inputs)
            return {name: result[name] for name in spec.outputs}

        yield call


@asynccontextmanager
async def sardonyx_joined(spec: CallSpec) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """The same, with concurrent calls joined."""
    async with sardonyx_async(spec, joined=True) as call:
        yield call


@asynccontextmanager
async def triton_async(spec: CallSpec) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """Tritonclient's asyncio client."""
    from tritonclient.grpc import InferInput
    from tritonclient.grpc.aio import InferenceServerClient

    async with InferenceServerClient(spec.address) as client:

        async def call() -> Arrays:
            result = await client.infer(spec.model, _triton_inputs(InferInput, spec.inputs))
            return {name: result.as_numpy(name) for name in spec.outputs}

        yield call


def _triton_inputs(infer_input: Any, inputs: Arrays) -> list[Any]:
    tensors = []
    for name, array in inputs.items():
        tensor = infer_input(name, array.shape, _DATATYPES[array.dtype])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


SYNC: Final[Mapping[str, Callable[[CallSpec], AbstractContextManager[Callable[[], Arrays]]]]] = {
    "sardonyx": sardonyx,
    "sent": sent,
    "triton": triton,
    "stub": stub,
}
ASYNC: Final[Mapping[str, Callable[[CallSpec], AbstractAsyncContextManager[Callable[[], Awaitable[Arrays]]]]]] = {
    "sardonyx": sardonyx_async,
    "joined": sardonyx_joined,
    "triton": triton_async,
}
