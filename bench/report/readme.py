"""Writes the README's figures and docs/performance.md from the runs in bench/runs/.

python -m bench.report.readme [RUN.json]...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.control import ROOT
from bench.report.archive import Bars, NotAResult, compact, load_archived, name_of
from bench.report.headline import headline
from bench.report.prose import prose
from bench.store import Run

__all__ = ["BEGIN", "END", "RUNS", "figures", "main", "put", "section"]

RUNS: Final = ROOT / "bench" / "runs"
BEGIN: Final = "<!-- Written by make bench-readme; change nothing by hand up to the next mark. -->\n"
END: Final = "<!-- The end of what make bench-readme writes. -->\n"

_README: Final = ROOT / "README.md"
_PAGE: Final = ROOT / "docs" / "performance.md"
# The server first; what is not named here comes behind.
_ORDER: Final = ("suite", "peers", "core", "features", "client")


def figures(runs: Path = RUNS) -> str:
    """The generated part of the README."""
    return headline(_in_order(runs))


def section(runs: Path = RUNS) -> str:
    """The generated part of docs/performance.md: each stored run."""
    return "\n".join(prose(result) for result in _in_order(runs))


def put(document: str, text: str) -> str:
    """A document with another text between the marks.

    Raises:
        NotAResult: The document has no markers.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NotAResult(f"expected the marks {BEGIN.strip()!r} and {END.strip()!r} and found them not")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main(words: Sequence[str] | None = None, *, readme: Path = _README, page: Path = _PAGE, runs: Path = RUNS) -> int:
    """Keep the runs that are given, and write both documents.

    Args:
        words: Arguments; None = those of this process.
        readme: To write the figures into.
        page: To write the section into.
        runs: Where runs are kept.

    Returns:
        Exit status: 0, or 2 where a file cannot be read or is none of a bench.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.report.readme", description=__doc__)
    parser.add_argument("run", type=Path, nargs="*", metavar="RUN.json", help="takes the place of the last of its kind")
    given = parser.parse_args(words)
    try:
        for file in given.run:
            result = load_archived(json.loads(file.read_text("utf-8")))
            runs.mkdir(parents=True, exist_ok=True)
            place = runs / f"{name_of(result)}.json"
            place.write_text(compact(result), "utf-8")
            print(f"kept: {place}")
        for document, text in ((readme, figures(runs)), (page, section(runs))):
            document.write_text(put(document.read_text("utf-8"), text), "utf-8")
            print(f"written: {document}")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _in_order(runs: Path) -> Sequence[Bars | Run]:
    files = sorted(runs.glob("*.json"), key=lambda file: (_place(file.stem), file.stem))
    return [load_archived(json.loads(file.read_text("utf-8"))) for file in files]


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


if __name__ == "__main__":
    sys.exit(main())
