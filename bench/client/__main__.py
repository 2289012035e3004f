"""Measures the Python client against tritonclient and the bare stub. See bench/README.md and bench/command.py.

python -m bench.client [--quick] [--only GROUP]... [--turns N] [--seconds S] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Final

from bench.client.calls import GROUPS
from bench.client.imports import IMPORT, imports
from bench.command import Groups, command

__all__: list[str] = []

_GROUPS: Final[Groups] = {**GROUPS, "import": (imports, (IMPORT,))}

if __name__ == "__main__":
    sys.exit(command("client", "Measures the Python client against others.", _GROUPS, by_generator=False))
