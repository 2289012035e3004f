"""Runs a model on made-up rows: one row, some rows together, a batch by the clock. Notes whether together equals apart.

What to run, how often and what follows from it is probe.py's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_server.engine.measuring.agreement import Yardstick
from sardonyx_server.engine.requests.outputs import OWN_SHARE
from sardonyx_server.errors import ServerError
from sardonyx_server.text import one_line, quoted
from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES
from sardonyx_wire.tensors import describe_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.engine.measuring.stopwatch import Stopwatch
    from sardonyx_server.engine.measuring.synth import Recipe
    from sardonyx_server.engine.session import Session

__all__ = ["Refusal", "RunFailed", "Trial"]

# Runtimes explain at length; a verdict is one line of a table.
_ERROR_BYTES: Final = 200
_DICE: Final = "not deterministic: output {name} changes between runs of one row ({text})"
_MIXES: Final = "rows of output {name} change when batched ({text})"


class Refusal(Exception):
    """The model did something that rules a use out.

    Attributes:
        reason: One line for people.
        final: No configuration can make up for it.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class RunFailed(Refusal):
    """The model raised; perhaps it only dislikes made-up inputs."""


class Trial:
    """One model under test with one recipe. Used by one thread.

    Attributes:
        recipe: How its inputs are made.
    """

    def __init__(self, session: Session, recipe: Recipe, *, stopwatch: Stopwatch) -> None:
        self.recipe = recipe
        self._session = session
        self._stopwatch = stopwatch
        self._names = [spec.name for spec in session.outputs]
        self._yardstick = Yardstick(inputs=session.inputs, on_cpu=session.provider == "CPUExecutionProvider")
        self._pool: dict[str, NDArray[Any]] = {}
        self._pool_rows = 0
        self._apart: dict[int, list[NDArray[Any]]] = {}
        self._checked: set[int] = set()
        self._output_bytes = 0

    def run_bytes(self, rows: int) -> int:
        """What the inputs and outputs of so many rows are likely to take. Requires: one row was run."""
        return rows * (self.recipe.row_bytes + self._output_bytes)

    def copied_bytes(self, rows: int) -> int:
        """What the server copies because so many rows share a run, likely. Requires: one row was run."""
        if rows == 1:
            return 0
        outputs = self._output_bytes if rows > OWN_SHARE and self._output_bytes >= LARGE_PAYLOAD_BYTES else 0
        return rows * (self.recipe.row_bytes + outputs)

    def apart(self, row: int) -> list[NDArray[Any]]:
        """Outputs of this row alone, run at the first question.

        Raises:
            RunFailed: The model raised.
        """
        if row not in self._apart:
            outputs = self._run(self._feeds((row,)))
            self._output_bytes = sum(output.nbytes for output in outputs)
            self._apart[row] = outputs
        return self._apart[row]

    def repeat(self) -> float:
        """Run the first row once more and compare it with itself.

        Returns:
            Seconds of the run.

        Raises:
            Refusal: It differs by more than rounding, or the model raised (RunFailed).
        """
        first = self.apart(0)
        again, took_s = self._timed(self._feeds((0,)))
        self._compare([first], [again], _DICE)
        return took_s

    def check(self, together: Sequence[int], *, compared: Sequence[int]) -> None:
        """Run these rows together, and compare some of them with what they give apart.

        Args:
            together: Rows in the order in which they are stacked.
            compared: Positions in ``together``.

        Raises:
            Refusal: A row differs by more than rounding, an output has not one row for each of them, or the model
                raised (RunFailed).
        """
        try:
            outputs = self._run(self._feeds(together))
        except RunFailed as failed:
            raise RunFailed(f"{len(together)} rows together fail: {failed.reason}") from failed
        for name, output in zip(self._names, outputs, strict=True):
            if output.ndim == 0 or len(output) != len(together):
                text = f"output {quoted(name)} has shape {describe_shape(output.shape)} for {len(together)} rows"
                raise Refusal(text, final=True)
        apart = [self.apart(together[at]) for at in compared]
        rows = [[output[at : at + 1] for output in outputs] for at in compared]
        try:
            self._compare(rows, apart, _MIXES)
        except Refusal:
            # A model that rolls dice differs together and apart as well; then that is what to say.
            again = [self._run(self._feeds((together[at],))) for at in compared]
            self._compare(again, apart, _DICE)
            raise
        self._checked.add(len(together))

    def was_checked(self, rows: int) -> bool:
        """So many rows were run together before, so that the runtime has prepared for their shapes."""
        return rows == 1 or rows in self._checked

    def time(self, rows: int) -> float:
        """Seconds of a run of the first ``rows`` rows, or of the whole model where there is no batch axis.

        Raises:
            RunFailed: The model raised.
        """
        return self._timed(self._feeds(range(rows)))[1]

    def _compare(self, one: Sequence[list[NDArray[Any]]], other: Sequence[list[NDArray[Any]]], text: str) -> None:
        """Compare rows, each a list of outputs."""
        for at, spec in enumerate(self._session.outputs):
            difference = self._yardstick.difference(spec, [row[at] for row in one], [row[at] for row in other])
            if difference:
                raise Refusal(text.format(name=quoted(spec.name), text=difference))

    def _feeds(self, rows: Sequence[int]) -> dict[str, NDArray[Any]]:
        """The inputs of these rows: views where they are the first ones in order, else copies."""
        if not self.recipe.batched:
            self._grow(1)
            return self._pool
        self._grow(max(rows) + 1)
        take = slice(0, len(rows)) if rows == range(len(rows)) else list(rows)
        return {name: values[take] for name, values in self._pool.items()}

    def _grow(self, rows: int) -> None:
        """Draw more rows, so that there are at least so many; those there are stay as they are."""
        if rows <= self._pool_rows:
            return
        more = self.recipe.feeds(rows=rows - self._pool_rows, seed=self._pool_rows)
        self._pool = {
            name: np.concatenate((self._pool[name], values)) if self._pool_rows else values
            for name, values in more.items()
        }
        self._pool_rows = rows

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the model; whatever it raises becomes a RunFailed."""
        return self._timed(feeds)[0]

    def _timed(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[list[NDArray[Any]], float]:
        """The same, and the seconds it took."""
        try:
            return self._stopwatch.time(lambda: self._session.run(self._names, feeds))
        except ServerError as error:
            raise RunFailed(one_line(" ".join(error.message.split()), _ERROR_BYTES)) from error
        except Exception as error:  # a probe never fails a load, whatever the runtime raises
            raise RunFailed(f"the model raised {type(error).__name__}") from error
