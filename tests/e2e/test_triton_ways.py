"""Tritonclient's ways of sending, each with every datatype: plain, compressed, streamed, in shared memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import ml_dtypes  # comes with onnx
import numpy as np
import pytest

from sardonyx_wire.datatypes import DATATYPES
from tests.conformance.table import WHAT
from tests.e2e.messages import failure_of, gate_request
from tests.e2e.models import identity_name
from tests.e2e.servers import SHORT_S, Server, eventually
from tests.e2e.triton_conversations import KINDS, memory, talk, utilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.e2e.triton_conversations import Conversation

SHAPE: Final = (2, 3)
# Where the answer begins in a region.
_HALF_BYTES: Final = 4096


Send = Callable[["Conversation", str, "NDArray[Any]"], Awaitable["NDArray[Any]"]]
"""(conversation, datatype, x) -> what came back."""


def sample(datatype: str) -> NDArray[Any]:
    """[2,3] with the ends of the range in it."""
    kind = DATATYPES[datatype]
    if datatype == "BYTES":
        return np.array([[b"ab", "ü".encode(), b""], [b"c\0d", b"x" * 200, b"\n"]], object)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if datatype == "BF16":
        return np.array([[1, -2, 0.5], [0, 256, -0.0078125]], ml_dtypes.bfloat16)
    if kind.minimum is not None:
        return np.array([[kind.minimum, 0, 1], [2, 3, kind.maximum]], kind.dtype)
    return np.array([[-0.0, 1, np.inf], [-np.inf, 6e-8, -2.5]], kind.dtype)


def plain(**more: Any) -> Send:
    """One call."""

    async def send(on: Conversation, datatype: str, x: NDArray[Any]) -> NDArray[Any]:
        result = await on.client.infer(identity_name(datatype), [on.tensor("x", x, datatype)], **more)
        y: NDArray[Any] = result.as_numpy("y")
        return y

    return send


def streamed(**more: Any) -> Send:
    """One message of a stream."""

    async def send(on: Conversation, datatype: str, x: NDArray[Any]) -> NDArray[Any]:
        request = {"model_name": identity_name(datatype), "inputs": [on.tensor("x", x, datatype)]}
        ((result, error),) = await on.stream([request], **more)
        assert error is None
        y: NDArray[Any] = result.as_numpy("y")
        return y

    return send


async def shared(on: Conversation, datatype: str, x: NDArray[Any]) -> NDArray[Any]:
    """Both tensors in one region."""
    name = f"ways_{on.kind}"
    with region(name, f"/sardonyx_{name}_{on.server.transport}") as handle:
        memory.set_shared_memory_region(handle, [utilities.serialize_byte_tensor(x) if datatype == "BYTES" else x])
        await on.client.register_system_shared_memory(name, memory_key(handle), 2 * _HALF_BYTES)
        try:
            given, wanted = on.tensor("x", x, datatype), on.output("y")
            given.set_shared_memory(name, size_bytes(datatype, x))
            wanted.set_shared_memory(name, size_bytes(datatype, x), offset=_HALF_BYTES)
            await on.client.infer(identity_name(datatype), [given], outputs=[wanted])
            dtype = utilities.triton_to_np_dtype(datatype)
            y: NDArray[Any] = memory.get_contents_as_numpy(handle, dtype, list(SHAPE), offset=_HALF_BYTES).copy()
        finally:
            await on.client.unregister_system_shared_memory(name)
    return y


@contextmanager
def region(name: str, key: str) -> Iterator[Any]:
    """A region of its own making."""
    handle = memory.create_shared_memory_region(name, key, 2 * _HALF_BYTES)
    try:
        yield handle
    finally:
        memory.destroy_shared_memory_region(handle)


def memory_key(handle: Any) -> str:
    """The key it was made with."""
    key: str = handle._shm_key
    return key


def size_bytes(datatype: str, x: NDArray[Any]) -> int:
    """On the wire."""
    if datatype == "BYTES":
        return sum(4 + len(each) for each in x.ravel().tolist())
    return x.nbytes


WAYS: Final[Mapping[str, Send]] = {
    "plain": plain(),
    "gzip": plain(compression_algorithm="gzip"),
    "deflate": plain(compression_algorithm="deflate"),
    "stream": streamed(),
    "stream with gzip": streamed(compression_algorithm="gzip"),
    "stream with deflate": streamed(compression_algorithm="deflate"),
    "shared memory": shared,
}
"""How tensors travel."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_datatype_by_every_way(
    server: Server, kind: str, way: str, record_property: Callable[[str, object], None]
) -> None:
    """The same bytes come back."""
    record_property(WHAT, f"{kind}: every datatype, {way}")

    async def check(on: Conversation) -> None:
        for datatype in DATATYPES:
            x = sample(datatype)
            y = await WAYS[way](on, datatype, x)
            assert y.dtype == x.dtype, datatype
            assert (y.tolist() if datatype == "BYTES" else y.tobytes()) == (
                x.tolist() if datatype == "BYTES" else x.tobytes()
            ), datatype

    talk(kind, server, check)
    server.settle()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_timeout_ends_a_call(server: Server, kind: str) -> None:
    """As a deadline, which the server sees too."""

    async def check(on: Conversation) -> None:
        with on.server.holding(gate_request()), pytest.raises(utilities.InferenceServerException) as caught:
            await on.client.infer("gate", on.gate_inputs(), client_timeout=0.05)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"

    talk(kind, server, check)
    server.settle()


def test_a_cancelled_task_is_a_cancelled_call(server: Server) -> None:
    """The asyncio client's way to take a call back; the model does not run for it."""

    async def check(on: Conversation) -> None:
        with on.server.holding(gate_request()):
            before = on.server.app._transport.open_calls
            task = asyncio.ensure_future(on.client.infer("gate", on.gate_inputs()))
            await asyncio.to_thread(
                eventually, lambda: on.server.app._transport.open_calls > before, "the call has arrived"
            )
            task.cancel()
            with pytest.raises((asyncio.CancelledError, utilities.InferenceServerException)):
                await task

    talk("aio", server, check)
    server.settle()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_has_a_time_limit_of_its_own(server: Server, kind: str) -> None:
    """``stream_timeout`` ends all of it."""

    async def check(on: Conversation) -> None:
        with on.server.holding(gate_request()):
            request = {"model_name": "gate", "inputs": on.gate_inputs()}
            if on.kind == "aio":
                with pytest.raises(grpc.RpcError) as caught:
                    await on.stream([request], stream_timeout=SHORT_S)
                status = str(failure_of(caught.value).code)
            else:
                ((_, error),) = await on.stream([request], stream_timeout=SHORT_S)
                status = error.status()
        assert status == "StatusCode.DEADLINE_EXCEEDED"

    talk(kind, server, check)
    server.settle()


def test_a_stream_that_is_cancelled_leaves_nothing(server: Server) -> None:
    """``stop_stream(cancel_requests=True)`` while a request waits."""

    async def check(on: Conversation) -> None:
        with on.server.holding(gate_request()):
            on.plain.start_stream(callback=lambda *_, **__: None)
            on.plain.async_stream_infer("gate", on.gate_inputs())
            on.plain.stop_stream(cancel_requests=True)

    talk("sync", server, check)
    server.settle()
