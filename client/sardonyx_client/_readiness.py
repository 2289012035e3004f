"""Liveness and readiness of a server or a model, and waiting for readiness."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from sardonyx_client import _operations
from sardonyx_client._errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    import threading

    from sardonyx_client._operations import AsyncRun, Operation, Run
    from sardonyx_client._timeout import Timeout

__all__ = ["AsyncReadiness", "Readiness"]

# Intervals at which a server that is not ready is polled, in seconds: exponential, from the first to the longest.
_FIRST_POLL_S: Final = 0.02
_MAX_POLL_S: Final = 0.5


def _ready_operation(model: str | None, version: str | int) -> Operation[bool]:
    return _operations.server_ready() if model is None else _operations.model_ready(model, str(version))


def _not_ready(model: str | None, address: str, timeout_s: float) -> DeadlineExceeded:
    what = "the server" if model is None else f"model {model!r}"
    return DeadlineExceeded(f"{what} at {address} is not ready after {timeout_s:g} s")


class Readiness:
    """Readiness of one server.

    Args:
        run: Makes a call.
        address: For error messages.
        closed: Set when the client is closed.
    """

    __slots__ = ("_address", "_closed", "_run")

    def __init__(self, run: Run, address: str, closed: threading.Event) -> None:
        self._run = run
        self._address = address
        self._closed = closed

    def live(self, timeout_s: Timeout) -> bool:
        """See :meth:`Client.live`."""
        return self._query(_operations.live(), timeout_s)

    def ready(self, model: str | None, version: str | int, timeout_s: Timeout) -> bool:
        """See :meth:`Client.ready`."""
        return self._query(_ready_operation(model, version), timeout_s)

    def wait(self, model: str | None, version: str | int, timeout_s: float) -> None:
        """See :meth:`Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            poll_s = _FIRST_POLL_S
            while not self._ready_by(deadline, subject, version):
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    raise _not_ready(subject, self._address, timeout_s)
                self._closed.wait(min(poll_s, remaining_s))
                poll_s = min(2 * poll_s, _MAX_POLL_S)

    def _query(self, operation: Operation[bool], timeout_s: Timeout) -> bool:
        try:
            return self._run(operation, timeout_s)
        except Unavailable:
            return False

    def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """Poll once. False if there was no response: the caller decides whether time is left to poll again."""
        remaining_s = max(0.0, deadline - time.monotonic())
        try:
            return self._run(_ready_operation(model, version), remaining_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False


class AsyncReadiness:
    """Counterpart of :class:`Readiness` for asyncio."""

    __slots__ = ("_address", "_run")

    def __init__(self, run: AsyncRun, address: str) -> None:
        self._run = run
        self._address = address

    async def live(self, timeout_s: Timeout) -> bool:
        """See :meth:`AsyncClient.live`."""
        return await self._query(_operations.live(), timeout_s)

    async def ready(self, model: str | None, version: str | int, timeout_s: Timeout) -> bool:
        """See :meth:`AsyncClient.ready`."""
        return await self._query(_ready_operation(model, version), timeout_s)

    async def wait(self, model: str | None, version: str | int, timeout_s: float) -> None:
        """See :meth:`AsyncClient.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            poll_s = _FIRST_POLL_S
            while not await self._ready_by(deadline, subject, version):
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    raise _not_ready(subject, self._address, timeout_s)
                await asyncio.sleep(min(poll_s, remaining_s))
                poll_s = min(2 * poll_s, _MAX_POLL_S)

    async def _query(self, operation: Operation[bool], timeout_s: Timeout) -> bool:
        try:
            return await self._run(operation, timeout_s)
        except Unavailable:
            return False

    async def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """Poll once. False if there was no response: the caller decides whether time is left to poll again."""
        remaining_s = max(0.0, deadline - time.monotonic())
        try:
            return await self._run(_ready_operation(model, version), remaining_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False
