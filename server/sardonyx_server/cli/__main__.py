"""``python -m sardonyx_server.cli``: runs the command line if ``sardonyx`` is not on the PATH."""

from __future__ import annotations

from sardonyx_server.cli.entry import main

main()
