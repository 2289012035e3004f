"""The command ``sardonyx``: verbs, arguments, and where settings come from.

Start at ``entry.py`` (entry point and exit codes) and ``commands.py`` (the verbs). Nothing below this package reads the
environment or writes to the terminal.
"""

from __future__ import annotations

from sardonyx_server.cli.entry import main

__all__ = ["main"]
