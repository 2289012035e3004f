"""The Sardonyx server: serves ONNX models over gRPC. ``app`` wires it together, ``cli`` starts it.

Each module imports only those below it; each package lists its own files.

    __main__.py           python -m sardonyx_server
    cli/                  the command line: commands, arguments, settings
    app.py                composition root: builds, starts, drains and stops everything
    demo/                 pre- and postprocessing of `sardonyx demo`
    load/                 the load generator of `sardonyx bench`
    rpc/                  everything that depends on gRPC
    observe/              logs, metrics, traces, health probes
    engine/               request processing, batching, model lifecycle
    runtime/              everything that depends on onnxruntime; shared memory
    repository/           the model repository: folders on disk to model specs
    settings.py           the server's settings
    setting_types.py      the types of their values
    text.py               formatting for messages
    log_rate_limiter.py   at most one log line a minute
    errors.py             exceptions, grouped by who can act on them
"""
