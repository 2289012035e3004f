"""The command ``check``: loads and probes every model, each in its own process, for CI.

A model that crashes or hangs its process is reported as failed and does not affect the others. The child process is
``python -m sardonyx_server.cli.check_one``, which writes one JSON document.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sardonyx_server.cli.exit_codes import ExitCode
from sardonyx_server.cli.inspect_model import settings_for
from sardonyx_server.cli.loading import scan_paths
from sardonyx_server.cli.output import console, print_notice, write_json
from sardonyx_server.cli.views import FAILED, ModelView, view_from_json, view_to_json

__all__ = ["outcome", "run_check"]

_CHILD = "sardonyx_server.cli.check_one"


def run_check(paths: Sequence[Path], *, providers: list[str] | None, timeout_s: float, as_json: bool) -> int:
    """Checks every version that would be served.

    Args:
        paths: Model repositories, folders of .onnx files, or files.
        providers: As ``--providers`` of ``serve``.
        timeout_s: Time limit for one version of one model.
        as_json: One JSON document instead of a table.

    Returns:
        0 if all loaded, otherwise 3.
    """
    from sardonyx_server.repository.spec import BrokenModel

    settings_for(providers)  # an invalid provider name is one error, not one per model
    views: list[ModelView] = []
    for name, spec in sorted(scan_paths(paths).items()):
        if isinstance(spec, BrokenModel):
            views.append(ModelView(name=name, version=0, state=FAILED, reason=spec.reason))
            continue
        for version in spec.versions:
            if not as_json and sys.stderr.isatty():
                print_notice(f"checking {name} version {version}")
            view = _in_child(paths, name, version, providers or [], timeout_s)
            views.append(replace(view, warnings=tuple(dict.fromkeys((*spec.warnings, *view.warnings)))))
    failed = sum(not view.is_ready for view in views)
    if as_json:
        write_json({"ok": not failed, "models": [view_to_json(view) for view in views]})
    else:
        from sardonyx_server.cli.render import check_table

        console().print(check_table(views))
    if failed:
        print_notice(f"{failed} of {len(views)} failed")
    return int(ExitCode.LOAD_FAILED if failed else ExitCode.OK)


def outcome(name: str, version: int, *, returncode: int, output: str, errors: str) -> ModelView:
    """The result of a child process that has exited.

    Args:
        name: The model.
        version: Its version.
        returncode: Its exit code; a negative one is the signal that killed it.
        output: Its standard output: one JSON document, if all went well.
        errors: Its standard error.
    """
    if returncode == 0:
        try:
            return view_from_json(json.loads(output))
        except (ValueError, KeyError, TypeError):
            reason = "the process that loaded it wrote no result"
    elif returncode < 0:
        reason = f"it crashed the process that loaded it ({_signal_name(-returncode)})"
    else:
        reason = f"the process that loaded it ended with code {returncode}"
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")
    return ModelView(name=name, version=version, state=FAILED, reason=f"{reason}: {last}" if last else reason)


def _in_child(paths: Sequence[Path], name: str, version: int, providers: list[str], timeout_s: float) -> ModelView:
    job = {"paths": [str(path) for path in paths], "model": name, "version": version, "providers": providers}
    try:
        done = subprocess.run(  # noqa: S603  # this package; the job goes to its standard input
            [sys.executable, "-m", _CHILD],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"not loaded within {timeout_s:g} s (--timeout-s)"
        return ModelView(name=name, version=version, state=FAILED, reason=reason)
    return outcome(name, version, returncode=done.returncode, output=done.stdout, errors=done.stderr)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
