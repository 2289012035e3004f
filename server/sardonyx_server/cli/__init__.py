"""The command ``sardonyx``: verbs, arguments, and where settings come from.

Nothing below this package reads the environment or writes to the terminal.

    entry.py           entry point; whatever happens becomes one line and an exit code
    __main__.py        python -m sardonyx_server.cli
    commands.py        the verbs and their arguments
    exits.py           exit codes
    triton_flags.py    what to write for flags of tritonserver
    output.py          where verbs write

Settings:

    flags.py           the fields of Settings as flags, variables and help
    sources.py         flags, variables, file -> Settings
    reference.py       the generated parts of the documents

Verbs:

    serve.py           serve
    greeting.py        what it says when it has started
    supervise.py       its life: start, signals, stop
    listen.py          is the address free?
    progress.py        the bar while models load
    samples.py         a command to try next
    infer.py           infer
    values.py          name=value <-> arrays
    inspect_model.py   inspect
    check.py           check
    check_one.py       its child for one model
    loading.py         opens models for both, without a server
    views.py           what is shown of a model
    render.py          that as tables and text
    bench.py           bench
    bench_views.py     how it shows a load
    generate.py        client generate
    demo.py            demo
    version.py         version
"""

from __future__ import annotations

from sardonyx_server.cli.entry import main

__all__ = ["main"]
