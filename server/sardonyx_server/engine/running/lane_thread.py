"""The lane's thread as models see it; the transport implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["LaneThread"]


class LaneThread(Protocol):
    """The thread that takes all requests in, where there is one. Both methods: any thread; never block."""

    def later(self, task: Callable[[], None], /) -> None:
        """Have a task run on it, soon."""

    def offer(self, model: Model, /) -> None:
        """Have it look at what waits for a model: a runner has left that to it."""
