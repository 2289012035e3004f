"""``python -m sardonyx_server.cli``: the command, where the program itself is not on the PATH."""

from __future__ import annotations

from sardonyx_server.cli.entry import main

main()
