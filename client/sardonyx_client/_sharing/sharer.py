"""Takes the steps of rules.py on a connection: for threads, and for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from sardonyx_client._errors import ClientError
from sardonyx_client._operations import Operation
from sardonyx_client._sharing.agreement import patience_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._request import Request
    from sardonyx_client._sending.async_sender import AsyncSender
    from sardonyx_client._sending.sender import Sender
    from sardonyx_client._sharing.rules import Sharing
    from sardonyx_client._timeout import Deadline
    from sardonyx_client._values import Result

__all__ = ["AsyncSharer", "Sharer"]


class Sharer:
    """Makes calls whose large tensors lie in shared memory.

    Args:
        sharing: What is to be done.
        connect: Makes a connection that never tries a call again: of an attempt that was lost nobody knows whether the
            server still runs it, and its output must not come into memory that has another use by then.
    """

    def __init__(self, sharing: Sharing, connect: Callable[[], Sender]) -> None:
        self.sharing = sharing
        self._connect = connect
        self._lock = threading.Lock()
        self._sender: Sender | None = None

    def infer(self, request: Request, deadline: Deadline) -> Result | None:
        """Make a call.

        Returns:
            None where it is to be sent in the usual way.

        Raises:
            ClientError: It failed.
        """
        with self._lock:
            if self._sender is None:
                self._sender = self._connect()
            sender = self._sender
        steps = self.sharing.infer(request, endless=deadline.left_s is None)
        try:
            step = next(steps)
            while True:
                left_s = deadline.left_s
                answer: Any = b""
                try:
                    if not isinstance(step, Operation):
                        time.sleep(step if left_s is None else min(step, left_s))
                    elif step.rpc == "ModelInfer":
                        answer = sender.infer(request.model, step.message, left_s)
                    else:
                        answer = sender.send(step.rpc, step.message, patience_s(left_s))
                except BaseException as error:  # noqa: BLE001  # whatever it is, the steps raise it again
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
        """Cancel what is under way, let go of the memory, and disconnect."""
        if self._sender is not None:
            self._sender.close()
        self.sharing.close()


class AsyncSharer:
    """The same for asyncio."""

    def __init__(self, sharing: Sharing, connect: Callable[[], AsyncSender]) -> None:
        self.sharing = sharing
        self._connect = connect
        self._sender: AsyncSender | None = None

    async def infer(self, request: Request, deadline: Deadline) -> Result | None:
        """See :meth:`Sharer.infer`."""
        if self._sender is None:
            self._sender = self._connect()
        sender = self._sender
        steps = self.sharing.infer(request, endless=deadline.left_s is None)
        try:
            step = next(steps)
            while True:
                left_s = deadline.left_s
                answer: Any = b""
                try:
                    if not isinstance(step, Operation):
                        await asyncio.sleep(step if left_s is None else min(step, left_s))
                    elif step.rpc == "ModelInfer":
                        answer = await sender.infer(request.model, step.message, left_s)
                    else:
                        answer = await sender.send(step.rpc, step.message, patience_s(left_s))
                except BaseException as error:  # noqa: BLE001  # whatever it is, the steps raise it again
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
        """See :meth:`Sharer.close`."""
        if self._sender is not None:
            await self._sender.close()
        self.sharing.close()
