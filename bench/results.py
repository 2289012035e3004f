"""Results files of the commands, and the warning that a busy machine makes them noisy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bench.control import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["new_file", "tell_where", "warn_if_busy"]

_FOLDER: Final = ROOT / "build" / "bench"
# Other work affects even ratios: server and reference do not suffer equally.
_BUSY_CORES: Final = 0.3


def new_file(command: str, given: Path | None) -> Path:
    """The results file of a command; creates its folder.

    Args:
        command: Module under ``bench``.
        given: The user's choice; None = ``build/bench/COMMAND-DATE.json``.
    """
    file = given or _FOLDER / f"{command}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def tell_where(file: Path) -> None:
    """Print the path of the results file."""
    print(f"results: {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")


def warn_if_busy(cores: float, what: str = "noise") -> None:
    """Warn if other work kept cores busy in the last minute."""
    if cores > _BUSY_CORES:
        print(f"warning: other work kept {cores} cores busy in the last minute; expect {what}")
