"""Renders stored runs as a report: one HTML file that needs no network.

python -m bench.report RUN.json [RUN.json ...] [--history FILE_OR_FOLDER]... [--out FILE.html]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bench.control import ROOT
from bench.report.history import read
from bench.report.merging import merge_runs
from bench.report.page import page
from bench.store import Run

__all__ = ["main"]

_HISTORY: Final = ROOT / "bench" / "history"


def main(words: list[str] | None = None) -> int:
    """Write the page.

    Args:
        words: Arguments; None = those of this process.

    Returns:
        Exit status: 0, or 2 where a file cannot be read or is no stored run.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Makes a page of stored runs.")
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN.json",
        help="what make bench and make bench-peers have written, of one commit and one machine",
    )
    parser.add_argument(
        "--history",
        type=Path,
        action="append",
        metavar="FILE_OR_FOLDER",
        help="lines of earlier releases; default: bench/history",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="default: beside the first run, with the ending .html"
    )
    given = parser.parse_args(words)
    out = given.out or given.runs[0].with_suffix(".html")
    try:
        run = merge_runs([Run.read(file) for file in given.runs])
        past = read(given.history or [place for place in (_HISTORY,) if place.exists()])
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except (KeyError, TypeError) as error:
        names = ", ".join(map(str, given.runs))
        print(f"{names}: expected stored runs of make bench; {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(run, past), "utf-8")
    print(f"page: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
