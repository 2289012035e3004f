"""Adds a run to the release history, ``releases.jsonl``: ``python -m bench.history add RUN.json``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bench.history.record import add_record, make_record
from bench.store import Run

__all__ = ["main"]

_FILE: Final = Path(__file__).resolve().parent / "releases.jsonl"


def main(words: list[str] | None = None) -> int:
    """Add a line.

    Args:
        words: Arguments; None = those of this process.

    Returns:
        Exit status: 0, or 2 where the run cannot be read or is no record.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.history", description="Keeps one line of a run.")
    verbs = parser.add_subparsers(required=True)
    add = verbs.add_parser("add", help="one line for its release and machine, in place of an older one of the same")
    add.add_argument("run", type=Path, metavar="RUN.json", help="what make bench has written")
    add.add_argument("--file", type=Path, default=_FILE, help="of lines; default: bench/history/releases.jsonl")
    given = parser.parse_args(words)
    try:
        line = make_record(Run.read(given.run))
        replaced = add_record(given.file, line)
    except (OSError, ValueError) as error:
        print(f"{given.run}: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError) as error:
        print(f"{given.run}: expected a stored run of make bench; {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"{'replaced' if replaced else 'added'}: {line.release} on {line.machine}, {len(line.p99_ms)} loads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
