"""Carries out the steps of protocol.py on a connection: for threads, and for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from sardonyx_client._errors import ClientError
from sardonyx_client._operations import Operation
from sardonyx_client._shm_transfer.negotiation import probe_timeout_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._request import Request
    from sardonyx_client._shm_transfer.protocol import ShmProtocol
    from sardonyx_client._timeout import Deadline
    from sardonyx_client._transport.async_transport import AsyncTransport
    from sardonyx_client._transport.sync_transport import SyncTransport
    from sardonyx_client._values import Result

__all__ = ["AsyncShmTransfer", "ShmTransfer"]


class ShmTransfer:
    """Makes calls whose large tensors are in shared memory.

    Args:
        protocol: Yields the steps.
        make_transport: Creates a transport without retries. After a lost attempt nobody knows whether the server is
            still running it, and its output must not reach memory that has another use by then.
    """

    def __init__(self, protocol: ShmProtocol, make_transport: Callable[[], SyncTransport]) -> None:
        self.protocol = protocol
        self._make_transport = make_transport
        self._lock = threading.Lock()
        self._transport: SyncTransport | None = None

    def infer(self, request: Request, deadline: Deadline) -> Result | None:
        """Make a call.

        Returns:
            The result; None = the call must be sent without shared memory.

        Raises:
            ClientError: The call failed.
        """
        with self._lock:
            if self._transport is None:
                self._transport = self._make_transport()
            transport = self._transport
        steps = self.protocol.infer(request, no_deadline=deadline.remaining_s is None)
        try:
            step = next(steps)
            while True:
                remaining_s = deadline.remaining_s
                answer: Any = b""
                try:
                    if not isinstance(step, Operation):
                        time.sleep(step if remaining_s is None else min(step, remaining_s))
                    elif step.rpc == "ModelInfer":
                        answer = transport.infer(request.model, step.message, remaining_s)
                    else:
                        answer = transport.send(step.rpc, step.message, probe_timeout_s(remaining_s))
                except BaseException as error:  # noqa: BLE001  # the steps raise it again
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            result: Result | None = done.value
            return result
        except ClientError as error:
            error.request_id = request.request_id
            raise

    def close(self) -> None:
        """Cancel calls in flight, release the memory, and disconnect."""
        if self._transport is not None:
            self._transport.close()
        self.protocol.close()


class AsyncShmTransfer:
    """Counterpart of :class:`ShmTransfer` for asyncio."""

    def __init__(self, protocol: ShmProtocol, make_transport: Callable[[], AsyncTransport]) -> None:
        self.protocol = protocol
        self._make_transport = make_transport
        self._transport: AsyncTransport | None = None

    async def infer(self, request: Request, deadline: Deadline) -> Result | None:
        """See :meth:`ShmTransfer.infer`."""
        if self._transport is None:
            self._transport = self._make_transport()
        transport = self._transport
        steps = self.protocol.infer(request, no_deadline=deadline.remaining_s is None)
        try:
            step = next(steps)
            while True:
                remaining_s = deadline.remaining_s
                answer: Any = b""
                try:
                    if not isinstance(step, Operation):
                        await asyncio.sleep(step if remaining_s is None else min(step, remaining_s))
                    elif step.rpc == "ModelInfer":
                        answer = await transport.infer(request.model, step.message, remaining_s)
                    else:
                        answer = await transport.send(step.rpc, step.message, probe_timeout_s(remaining_s))
                except BaseException as error:  # noqa: BLE001  # the steps raise it again
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            result: Result | None = done.value
            return result
        except ClientError as error:
            error.request_id = request.request_id
            raise

    async def close(self) -> None:
        """See :meth:`ShmTransfer.close`."""
        if self._transport is not None:
            await self._transport.close()
        self.protocol.close()
