"""The lane's thread as models see it; the transport implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["LaneThread"]


class LaneThread(Protocol):
    """The thread that receives all inference requests, where there is a lane. All methods: any thread; never block."""

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Schedule a task to run on this thread soon."""

    def call_when_idle(self, task: Callable[[], None], /) -> None:
        """Schedule a task to run once this thread has next answered all received requests.

        It does not run while no requests arrive.
        """

    def cancel_idle_call(self, task: Callable[[], None], /) -> bool:
        """Cancel a task given to :meth:`call_when_idle`. Returns True if it had not started, and so never will."""
        ...

    def notify_pending(self, model: Model, /) -> None:
        """Tell this thread that it is to run the pending jobs of a model: its runners have left them to the lane."""
