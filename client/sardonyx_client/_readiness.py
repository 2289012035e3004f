"""Whether a server or a model is ready, and waiting until it is."""

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

# Pauses between two looks at a server that answers "not ready", in seconds: double from the first to the last.
_FIRST_PAUSE_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.5


def _question(model: str | None, version: str | int) -> Operation[bool]:
    return _operations.server_ready() if model is None else _operations.model_ready(model, str(version))


def _too_late(model: str | None, address: str, timeout_s: float) -> DeadlineExceeded:
    what = "the server" if model is None else f"model {model!r}"
    return DeadlineExceeded(f"{what} at {address} is not ready after {timeout_s:g} s")


class Readiness:
    """Asks one server.

    Args:
        run: Sends a question and waits for its answer.
        address: For messages.
        closed: Set when the client is closed.
    """

    __slots__ = ("_address", "_closed", "_run")

    def __init__(self, run: Run, address: str, closed: threading.Event) -> None:
        self._run = run
        self._address = address
        self._closed = closed

    def live(self, timeout_s: Timeout) -> bool:
        """See :meth:`Client.live`."""
        return self._answer(_operations.live(), timeout_s)

    def ready(self, model: str | None, version: str | int, timeout_s: Timeout) -> bool:
        """See :meth:`Client.ready`."""
        return self._answer(_question(model, version), timeout_s)

    def wait(self, model: str | None, version: str | int, timeout_s: float) -> None:
        """See :meth:`Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            pause_s = _FIRST_PAUSE_S
            while not self._ready_by(deadline, subject, version):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise _too_late(subject, self._address, timeout_s)
                self._closed.wait(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _answer(self, question: Operation[bool], timeout_s: Timeout) -> bool:
        try:
            return self._run(question, timeout_s)
        except Unavailable:
            return False

    def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """One look. False where there is no answer: the caller knows whether time is left for another."""
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return self._run(_question(model, version), left_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False


class AsyncReadiness:
    """The same for asyncio."""

    __slots__ = ("_address", "_run")

    def __init__(self, run: AsyncRun, address: str) -> None:
        self._run = run
        self._address = address

    async def live(self, timeout_s: Timeout) -> bool:
        """See :meth:`AsyncClient.live`."""
        return await self._answer(_operations.live(), timeout_s)

    async def ready(self, model: str | None, version: str | int, timeout_s: Timeout) -> bool:
        """See :meth:`AsyncClient.ready`."""
        return await self._answer(_question(model, version), timeout_s)

    async def wait(self, model: str | None, version: str | int, timeout_s: float) -> None:
        """See :meth:`AsyncClient.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            pause_s = _FIRST_PAUSE_S
            while not await self._ready_by(deadline, subject, version):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise _too_late(subject, self._address, timeout_s)
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _answer(self, question: Operation[bool], timeout_s: Timeout) -> bool:
        try:
            return await self._run(question, timeout_s)
        except Unavailable:
            return False

    async def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """One look. False where there is no answer: the caller knows whether time is left for another."""
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return await self._run(_question(model, version), left_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False
