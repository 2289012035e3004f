"""``python -m sardonyx_server``: the command, as containers start it where no program is on the PATH."""

from __future__ import annotations

from sardonyx_server.cli.entry import main

main()
