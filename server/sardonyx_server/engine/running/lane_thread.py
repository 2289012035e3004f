"""The lane's thread as models see it; the transport implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["LaneThread"]


class LaneThread(Protocol):
    """The thread that takes all requests in, where there is one. All methods: any thread; never block."""

    def later(self, task: Callable[[], None], /) -> None:
        """Have a task run on it, soon."""

    def between(self, task: Callable[[], None], /) -> None:
        """Have a task run on it when it has next answered all that has come; never, where nobody asks any more."""

    def withdraw(self, task: Callable[[], None], /) -> bool:
        """Take back what was given to :meth:`between`. Returns whether it has not begun; then it will not."""
        ...

    def offer(self, model: Model, /) -> None:
        """Have it look at what waits for a model: a runner has left that to it."""
