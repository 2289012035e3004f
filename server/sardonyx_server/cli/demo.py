"""The command ``demo``: serves magika's model from its installed package and classifies files with it over gRPC.

A complete server and a client run in one process; a request takes the same path as in production.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.output import console, write_json
from sardonyx_server.cli.port_check import require_port_free
from sardonyx_server.demo.classification import Classification, classify, prepare_input
from sardonyx_server.demo.magika_model import INPUT, MODEL_NAME, OUTPUT, find_model, make_repository
from sardonyx_server.errors import LoadFailed
from sardonyx_server.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_server.demo.magika_model import MagikaModel

__all__ = ["run_demo"]

_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


def run_demo(files: Sequence[Path], *, port: int, as_json: bool) -> int:
    """Classifies files; without files, serves the model until it is stopped.

    Args:
        files: Files to classify; empty = serve.
        port: Port to serve on; 0 = any free one.
        as_json: One JSON document instead of a table; when serving, JSON logs.

    Raises:
        SettingsError: A file cannot be read, or magika is not installed.
        CliError: The port cannot be listened on, or the request failed.
        LoadFailed: The model cannot be loaded.
    """
    model = find_model()
    prepared = [prepare_input(path, model) for path in files]
    require_port_free("127.0.0.1", port, flag="--port")
    if not files:
        return _serve(model, port=port, as_json=as_json)
    with tempfile.TemporaryDirectory(prefix="sardonyx-demo-") as folder:
        make_repository(Path(folder), model)
        answers = _classify(
            prepared, model, Settings(model_repository=(Path(folder),), grpc_port=port, metrics_port=None)
        )
    if as_json:
        write_json([{"file": str(path), **asdict(answer)} for path, answer in zip(files, answers, strict=True)])
    else:
        _print(files, answers)
    return int(ExitCode.OK)


def _serve(model: MagikaModel, *, port: int, as_json: bool) -> int:
    from sardonyx_server.cli.serve import run_serve
    from sardonyx_server.cli.settings_sources import LoadedSettings

    with tempfile.TemporaryDirectory(prefix="sardonyx-demo-") as folder:
        make_repository(Path(folder), model)
        settings = Settings(
            model_repository=(Path(folder),),
            grpc_port=port,
            metrics_port=None,
            log_format="json" if as_json else "auto",
        )
        return run_serve(
            LoadedSettings(settings=settings, origins={}, warnings=()), show_settings=False, as_json=as_json
        )


def _classify(
    prepared: Sequence[Classification | NDArray[np.int32]], model: MagikaModel, settings: Settings
) -> list[Classification]:
    from sardonyx_client import Client, ClientError
    from sardonyx_server.app import App

    app = App(settings)
    app.start()
    try:
        entry = app.registry.entries()[MODEL_NAME]
        if entry.newest_ready is None:
            reasons = [entry.problem, *(status.reason for status in entry.versions.values())]
            raise LoadFailed(f"the demo's model failed to load: {'; '.join(filter(None, reasons))}")
        with Client(app.address, timeout_s=_TIMEOUT_S) as client:
            return [
                row
                if isinstance(row, Classification)
                else classify(client.infer(MODEL_NAME, {INPUT: row[None]})[OUTPUT][0], model)
                for row in prepared
            ]
    except ClientError as error:
        raise CliError(ExitCode.REQUEST_FAILED, str(error)) from None
    finally:
        app.drain_and_stop(_STOP_TIMEOUT_S)


def _print(files: Sequence[Path], answers: Sequence[Classification]) -> None:
    from sardonyx_server.cli.render import plain_table

    console().print(
        plain_table(
            ("file", "kind", "score", "description", "MIME type"),
            [
                (str(path), answer.kind.label, f"{answer.score:.3f}", answer.kind.description, answer.kind.mime_type)
                for path, answer in zip(files, answers, strict=True)
            ],
        )
    )
