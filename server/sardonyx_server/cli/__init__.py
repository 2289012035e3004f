"""The command line ``sardonyx``: commands, arguments, and the sources of settings.

Only this package reads the environment and writes to the terminal.

    entry.py              entry point; turns every outcome into an exit code and one line of error
    __main__.py           python -m sardonyx_server.cli
    commands.py           the commands and their arguments
    exit_codes.py         exit codes
    triton_flags.py       replacements for flags of tritonserver
    output.py             standard output and standard error

Settings:

    flags.py              the fields of Settings as flags, environment variables and help
    settings_sources.py   flags, environment variables, settings file -> Settings
    reference.py          the generated parts of the documentation

Commands:

    serve.py              serve
    startup_message.py    the message and the log event when it has started
    server_lifecycle.py   start, signal handling, graceful stop
    port_check.py         checks that the ports are free
    progress.py           progress bar while models load
    example_command.py    an example request to try
    infer.py              infer
    client_tls.py         TLS of the commands that call a server
    values.py             name=value arguments <-> arrays
    credentials.py        token and headers that commands send
    inspect_model.py      inspect
    check.py              check
    check_one.py          its child process for one model
    loading.py            loads models for inspect and check, without a server
    views.py              what is shown about a model, as plain values
    render.py             views and settings as tables and text
    bench.py              bench
    bench_render.py       live display and reports of bench
    generate.py           client generate
    demo.py               demo
    version.py            version
"""

from __future__ import annotations

from sardonyx_server.cli.entry import main

__all__ = ["main"]
