"""The progress bar while models load. In a pipe there is none; each model has a log event instead."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["LoadingBar"]


class LoadingBar:
    """A progress bar, shown while the context is entered; ``update`` does nothing outside.

    Args:
        console: The terminal; None = no bar.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console is not None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("loading {task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("models", total=None)
        return self

    def update(self, model: str, done: int, total: int) -> None:
        """Shows the progress. Does not block; called on the loader's thread."""
        bar, task = self._bar, self._task
        if bar is not None and task is not None:
            bar.update(task, description=model, completed=done, total=total)

    def close(self) -> None:
        """Removes the bar. Idempotent."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()
            sys.stdout.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
