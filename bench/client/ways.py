"""One inference call in each client, as a user of it would write it: from arrays to arrays. Measures nothing.

Each way imports its own client only when it is asked for, because each runs in a process of its own.
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

__all__ = ["ASYNC", "SYNC", "Arrays", "Job"]

Arrays = Mapping[str, NDArray[Any]]

_NUMPY: Final = {"FP32": np.float32, "INT64": np.int64}
_DATATYPES: Final = {np.dtype(dtype): name for name, dtype in _NUMPY.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to call.

    Attributes:
        address: Host and port.
        model: Its name.
        inputs: Input name -> array.
        outputs: Names of those to be read.
        stubs: Folder of the generated stub.
    """

    address: str
    model: str
    inputs: Arrays
    outputs: tuple[str, ...]
    stubs: str


@contextmanager
def sardonyx(job: Job, *, share: bool = True) -> Iterator[Callable[[], Arrays]]:
    """This project's client. ``share``: large tensors go through shared memory where the server allows it."""
    from sardonyx_client import Client, Share

    with Client(job.address, share=Share() if share else None) as client:

        def call() -> Arrays:
            result = client.infer(job.model, job.inputs)
            return {name: result[name] for name in job.outputs}

        yield call


@contextmanager
def sent(job: Job) -> Iterator[Callable[[], Arrays]]:
    """The same, with every tensor in the message."""
    with sardonyx(job, share=False) as call:
        yield call


@contextmanager
def triton(job: Job) -> Iterator[Callable[[], Arrays]]:
    """Tritonclient."""
    from tritonclient.grpc import InferenceServerClient, InferInput

    with InferenceServerClient(job.address) as client:

        def call() -> Arrays:
            result = client.infer(job.model, _triton_inputs(InferInput, job.inputs))
            return {name: result.as_numpy(name) for name in job.outputs}

        yield call


@contextmanager
def stub(job: Job) -> Iterator[Callable[[], Arrays]]:
    """What grpc_tools generates from the .proto files, and protobuf."""
    sys.path.insert(0, job.stubs)
    import grpc

    messages: Any = import_module("inference.grpc_service_pb2")
    services: Any = import_module("inference.grpc_service_pb2_grpc")
    with grpc.insecure_channel(job.address) as channel:
        service = services.GRPCInferenceServiceStub(channel)

        def call() -> Arrays:
            request = messages.ModelInferRequest(model_name=job.model)
            for name, array in job.inputs.items():
                request.inputs.add(name=name, datatype=_DATATYPES[array.dtype], shape=array.shape)
                request.raw_input_contents.append(array.tobytes())
            answer = service.ModelInfer(request)
            return {
                output.name: np.frombuffer(raw, _NUMPY[output.datatype]).reshape(output.shape)
                for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
            }

        yield call


@asynccontextmanager
async def sardonyx_async(job: Job, *, joined: bool = False) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """This project's asynchronous client. ``joined``: concurrent calls become one request."""
    from sardonyx_client import AsyncClient, Coalesce

    async with AsyncClient(job.address, coalesce=Coalesce() if joined else None) as client:

        async def call() -> Arrays:
            result = await client.infer(job.model, job.inputs)
            return {name: result[name] for name in job.outputs}

        yield call


@asynccontextmanager
async def sardonyx_joined(job: Job) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """The same, with concurrent calls joined."""
    async with sardonyx_async(job, joined=True) as call:
        yield call


@asynccontextmanager
async def triton_async(job: Job) -> AsyncIterator[Callable[[], Awaitable[Arrays]]]:
    """Tritonclient's asyncio client."""
    from tritonclient.grpc import InferInput
    from tritonclient.grpc.aio import InferenceServerClient

    async with InferenceServerClient(job.address) as client:

        async def call() -> Arrays:
            result = await client.infer(job.model, _triton_inputs(InferInput, job.inputs))
            return {name: result.as_numpy(name) for name in job.outputs}

        yield call


def _triton_inputs(infer_input: Any, inputs: Arrays) -> list[Any]:
    tensors = []
    for name, array in inputs.items():
        tensor = infer_input(name, array.shape, _DATATYPES[array.dtype])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


SYNC: Final[Mapping[str, Callable[[Job], AbstractContextManager[Callable[[], Arrays]]]]] = {
    "sardonyx": sardonyx,
    "sent": sent,
    "triton": triton,
    "stub": stub,
}
ASYNC: Final[Mapping[str, Callable[[Job], AbstractAsyncContextManager[Callable[[], Awaitable[Arrays]]]]]] = {
    "sardonyx": sardonyx_async,
    "joined": sardonyx_joined,
    "triton": triton_async,
}
