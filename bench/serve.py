"""The server as ``sardonyx serve`` builds it, with its counters within reach of the harness. Measures nothing itself.

The command line gives no view of the batch size that a load reaches, and the allowance needs it. So this starts the
same ``App`` with the same tuning and reports the runners' own counters.

    python -m bench.serve REPOSITORY [--settings '{"max_batch_rows": 1}']
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.control import obey
from sardonyx_server.engine.statistics import snapshot
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sardonyx_server.engine.running.model import Model

__all__: list[str] = []

_STOP_TIMEOUT_S: Final = 5.0
_NS_PER_S: Final = 1_000_000_000


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
    obey(
        {
            "address": app.address,
            "transport": app.transport,
            "metrics_url": app.metrics_url,
            "models": {model.name: _facts(model) for model in models},
        },
        lambda _: _figures(models),
    )
    app.drain_and_stop(_STOP_TIMEOUT_S)


def _facts(model: Model) -> Mapping[str, object]:
    facts = model.facts
    return {
        "runners": facts.runners,
        "threads": facts.threads,
        "max_rows": facts.config.max_batch_size,
        "provider": facts.provider,
        "split": facts.runners_reason,
        "verdict": facts.verdict.reason,
    }


def _figures(models: Iterable[Model]) -> Mapping[str, float]:
    statistics = [snapshot(model) for model in models]
    batches = [batch for one in statistics for batch in one.batches]
    return {
        "cpu_s": time.process_time(),
        "rows": sum(one.inference_count for one in statistics),
        "failures": sum(one.fail.count for one in statistics),
        "batches": sum(batch.count for batch in batches),
        "gather_s": sum(batch.input_ns for batch in batches) / _NS_PER_S,
        "run_s": sum(batch.infer_ns for batch in batches) / _NS_PER_S,
        "scatter_s": sum(batch.output_ns for batch in batches) / _NS_PER_S,
    }


if __name__ == "__main__":
    main()
