"""Measures the server's core against its bars. See bench/README.md and bench/command.py.

python -m bench.core [--quick] [--only GROUP]... [--turns N] [--seconds S] [--generator h2load|own] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Final

from bench.command import Groups, command
from bench.core.latency import LATENCY, latency
from bench.core.resources import IDLE, MEMORY, READY, resources
from bench.core.throughput import GROUPS

__all__: list[str] = []

_GROUPS: Final[Groups] = {
    **GROUPS,
    "latency": (latency, (LATENCY,)),
    "resources": (resources, (MEMORY, IDLE, READY)),
}

if __name__ == "__main__":
    sys.exit(command("core", "Measures the core against its bars.", _GROUPS))
