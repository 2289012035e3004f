"""The runs of the probe on synthetic rows: single rows, batches that are compared with single rows, timed runs.

probe.py decides which of them to make, and what follows from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_server.engine.profiling.equivalence import EquivalenceCheck
from sardonyx_server.engine.requests.outputs import VIEW_SHARE
from sardonyx_server.errors import ServerError
from sardonyx_server.text import one_line, quoted
from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES
from sardonyx_wire.tensors import describe_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.engine.profiling.run_timer import RunTimer
    from sardonyx_server.engine.profiling.synthetic_inputs import Recipe
    from sardonyx_server.engine.session import Session

__all__ = ["ProbeRefusal", "RunFailed", "Trial"]

# Longest error text: runtimes explain at length, but a verdict is one line of a table.
_ERROR_BYTES: Final = 200
_NOT_DETERMINISTIC: Final = "not deterministic: output {name} changes between runs of one row ({text})"
_NOT_INDEPENDENT: Final = "rows of output {name} change when batched ({text})"


class ProbeRefusal(Exception):
    """A run showed that the model cannot be batched.

    Attributes:
        reason: One line for people.
        final: Whether no configuration can override it.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class RunFailed(ProbeRefusal):
    """The model raised an error; it may only reject synthetic inputs."""


class Trial:
    """One model under test with one recipe for its inputs. Used by one thread.

    Attributes:
        recipe: How its inputs are generated.
    """

    def __init__(self, session: Session, recipe: Recipe, *, timer: RunTimer) -> None:
        self.recipe = recipe
        self._session = session
        self._timer = timer
        self._names = [spec.name for spec in session.outputs]
        self._equivalence = EquivalenceCheck(inputs=session.inputs, on_cpu=session.provider == "CPUExecutionProvider")
        self._pool: dict[str, NDArray[Any]] = {}
        self._pool_rows = 0
        self._outputs_alone: dict[int, list[NDArray[Any]]] = {}
        self._checked: set[int] = set()
        self._output_bytes = 0

    def run_bytes(self, rows: int) -> int:
        """Estimate the bytes of the inputs and outputs of so many rows. Requires: one row was run."""
        return rows * (self.recipe.row_bytes + self._output_bytes)

    def copied_bytes(self, rows: int) -> int:
        """Estimate the bytes that the server copies because so many rows share a run. Requires: one row was run."""
        if rows == 1:
            return 0
        outputs = self._output_bytes if rows > VIEW_SHARE and self._output_bytes >= LARGE_PAYLOAD_BYTES else 0
        return rows * (self.recipe.row_bytes + outputs)

    def run_alone(self, row: int) -> list[NDArray[Any]]:
        """Return the outputs of this row run alone. Runs it at the first call.

        Raises:
            RunFailed: The model raised an error.
        """
        if row not in self._outputs_alone:
            outputs = self._run(self._feeds((row,)))
            self._output_bytes = sum(output.nbytes for output in outputs)
            self._outputs_alone[row] = outputs
        return self._outputs_alone[row]

    def repeat(self) -> float:
        """Run the first row again, and compare its outputs with those of the first time.

        Returns:
            Seconds of the run.

        Raises:
            ProbeRefusal: They differ by more than rounding, or the model raised an error (RunFailed).
        """
        first = self.run_alone(0)
        again, took_s = self._timed(self._feeds((0,)))
        self._compare([first], [again], _NOT_DETERMINISTIC)
        return took_s

    def check(self, together: Sequence[int], *, compared: Sequence[int]) -> None:
        """Run these rows in one batch, and compare the outputs of some with those of the same rows run alone.

        Args:
            together: Rows of the batch, in order.
            compared: Positions in ``together`` of the rows to compare.

        Raises:
            ProbeRefusal: A row differs by more than rounding, an output does not have one row for each of them, or the
                model raised an error (RunFailed).
        """
        try:
            outputs = self._run(self._feeds(together))
        except RunFailed as failed:
            raise RunFailed(f"{len(together)} rows together fail: {failed.reason}") from failed
        for name, output in zip(self._names, outputs, strict=True):
            if output.ndim == 0 or len(output) != len(together):
                text = f"output {quoted(name)} has shape {describe_shape(output.shape)} for {len(together)} rows"
                raise ProbeRefusal(text, final=True)
        alone = [self.run_alone(together[at]) for at in compared]
        rows = [[output[at : at + 1] for output in outputs] for at in compared]
        try:
            self._compare(rows, alone, _NOT_INDEPENDENT)
        except ProbeRefusal:
            # A model that is not deterministic differs as well; then that is the reason to report.
            again = [self._run(self._feeds((together[at],))) for at in compared]
            self._compare(again, alone, _NOT_DETERMINISTIC)
            raise
        self._checked.add(len(together))

    def was_checked(self, rows: int) -> bool:
        """Whether a batch of this size was run before, so that the runtime is prepared for its shapes."""
        return rows == 1 or rows in self._checked

    def time(self, rows: int) -> float:
        """Time a run of the first ``rows`` rows, or of the whole model if there is no batch axis. Returns seconds.

        Raises:
            RunFailed: The model raised an error.
        """
        return self._timed(self._feeds(range(rows)))[1]

    def _compare(self, one: Sequence[list[NDArray[Any]]], other: Sequence[list[NDArray[Any]]], text: str) -> None:
        """Compare rows, each a list of outputs."""
        for at, spec in enumerate(self._session.outputs):
            difference = self._equivalence.difference(spec, [row[at] for row in one], [row[at] for row in other])
            if difference:
                raise ProbeRefusal(text.format(name=quoted(spec.name), text=difference))

    def _feeds(self, rows: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Return the inputs of these rows: views if they are the first ones in order, else copies."""
        if not self.recipe.batched:
            self._grow(1)
            return self._pool
        self._grow(max(rows) + 1)
        take = slice(0, len(rows)) if rows == range(len(rows)) else list(rows)
        return {name: values[take] for name, values in self._pool.items()}

    def _grow(self, rows: int) -> None:
        """Generate more rows, so that there are at least so many; existing ones do not change."""
        if rows <= self._pool_rows:
            return
        more = self.recipe.feeds(rows=rows - self._pool_rows, seed=self._pool_rows)
        self._pool = {
            name: np.concatenate((self._pool[name], values)) if self._pool_rows else values
            for name, values in more.items()
        }
        self._pool_rows = rows

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the model. Any error becomes a RunFailed."""
        return self._timed(feeds)[0]

    def _timed(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[list[NDArray[Any]], float]:
        """Like :meth:`_run`, and return the seconds it took as well."""
        try:
            return self._timer.time(lambda: self._session.run(self._names, feeds))
        except ServerError as error:
            raise RunFailed(one_line(" ".join(error.message.split()), _ERROR_BYTES)) from error
        except Exception as error:  # a probe never fails a load, whatever the runtime raises
            raise RunFailed(f"the model raised {type(error).__name__}") from error
