"""Measures what the features cost that Triton's clients rely on. See bench/README.md and bench/command.py.

python -m bench.features [--quick] [--only GROUP]... [--turns N] [--seconds S] [--before COMMIT] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Final

from bench.command import Groups, command
from bench.features.overhead import OBSERVED, overhead
from bench.features.reload import RELOAD, RELOAD_NEW, reload
from bench.features.shm import SHM, shm
from bench.features.streams import STREAM_MEMORY, STREAM_P99, streams

__all__: list[str] = []

_GROUPS: Final[Groups] = {
    "overhead": (overhead, (OBSERVED,)),
    "streams": (streams, (STREAM_MEMORY, STREAM_P99)),
    "shm": (shm, (SHM,)),
    "reload": (reload, (RELOAD, RELOAD_NEW)),
}

if __name__ == "__main__":
    sys.exit(command("features", "Measures what features cost, and what they gain.", _GROUPS, before=True))
