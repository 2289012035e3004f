"""The server of Sardonyx: ONNX models over gRPC. ``app`` puts it together, ``cli`` starts it.

Each imports only those below it; each package lists its own files.

    __main__.py        python -m sardonyx_server
    cli/               the command: verbs, arguments, settings
    app.py             builds, starts, drains and stops everything
    demo/              what `sardonyx demo` has around its model
    load/              the load that `sardonyx bench` sends
    rpc/               all that knows gRPC
    observe/           logs, metrics, traces, probes
    engine/            requests to answers, files to models
    runtime/           all that knows onnxruntime; memory that clients share
    repository/        folders on disk to model specs
    settings.py        what an operator can set
    setting_kinds.py   what a value of a setting may be
    text.py            words for messages
    rarely.py          what is said once a minute, however often it happens
    errors.py          what can go wrong, by who can act on it
"""
