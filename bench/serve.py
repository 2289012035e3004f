"""The server under load: the ``App`` of ``sardonyx serve`` in a child process, which reports how it set up its models.

It has the same tuning. Its work under load is read from outside, as from any other server: see serving.py.

    python -m bench.serve REPOSITORY [--settings '{"max_batch_rows": 1}']
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.control import serve_commands
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.engine.running.model import Model

__all__: list[str] = []

_STOP_TIMEOUT_S: Final = 5.0


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--settings", type=json.loads, default={}, help="as JSON; metrics are off by default")
    given = parser.parse_args()
    settings = {"grpc_port": 0, "metrics_port": None, **given.settings, "model_repository": (given.repository,)}
    from sardonyx_server.app import App
    from sardonyx_server.runtime.process import tune_process

    app = App(Settings.model_validate(settings))
    app.start()
    tune_process()
    models = [model for entry in app.registry.entries().values() if (model := entry.newest_ready) is not None]
    serve_commands(
        {
            "address": app.address,
            "transport": app.transport,
            "metrics_url": app.metrics_url,
            "models": {model.name: _facts(model) for model in models},
        },
        lambda _: {},
    )
    app.drain_and_stop(_STOP_TIMEOUT_S)


def _facts(model: Model) -> Mapping[str, object]:
    info = model.info
    return {
        "runners": info.runners,
        "threads": info.threads,
        "max_rows": info.config.max_batch_size,
        "provider": info.provider,
        "split": info.runners_reason,
        "verdict": info.verdict.reason,
    }


if __name__ == "__main__":
    main()
