"""The verb ``check``: loads and probes every model, each in a process of its own, for CI.

A model that crashes or hangs its process is reported as that model's failure and disturbs no other. The process is this
package again (``python -m sardonyx_server.cli.check_one``), which writes one JSON document.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sardonyx_server.cli.exits import Exit
from sardonyx_server.cli.inspect_model import settings_for
from sardonyx_server.cli.loading import scan_paths
from sardonyx_server.cli.output import console, remark, write_json
from sardonyx_server.cli.views import FAILED, ModelView, view_from_json, view_to_json

__all__ = ["outcome", "run_check"]

_CHILD = "sardonyx_server.cli.check_one"


def run_check(paths: Sequence[Path], *, providers: list[str] | None, timeout_s: float, as_json: bool) -> int:
    """Checks every version that would be served.

    Args:
        paths: Model repositories, folders of .onnx files, or files.
        providers: As the flag of ``serve``.
        timeout_s: Longest time for one version of one model.
        as_json: One JSON document instead of a table.

    Returns:
        0 where all are well, else 3.
    """
    from sardonyx_server.repository.spec import BrokenModel

    settings_for(providers)  # a wrong provider name is one error, not one for each model
    views: list[ModelView] = []
    for name, spec in sorted(scan_paths(paths).items()):
        if isinstance(spec, BrokenModel):
            views.append(ModelView(name=name, version=0, state=FAILED, reason=spec.reason))
            continue
        for version in spec.versions:
            if not as_json and sys.stderr.isatty():
                remark(f"checking {name} version {version}")
            view = _in_child(paths, name, version, providers or [], timeout_s)
            views.append(replace(view, warnings=tuple(dict.fromkeys((*spec.warnings, *view.warnings)))))
    failed = sum(not view.is_ready for view in views)
    if as_json:
        write_json({"ok": not failed, "models": [view_to_json(view) for view in views]})
    else:
        from sardonyx_server.cli.render import check_table

        console().print(check_table(views))
    if failed:
        remark(f"{failed} of {len(views)} failed")
    return int(Exit.LOAD_FAILED if failed else Exit.OK)


def outcome(name: str, version: int, *, returncode: int, output: str, errors: str) -> ModelView:
    """What a child process that ended says about its model.

    Args:
        name: The model.
        version: Its version.
        returncode: Of the process; negative is the signal that ended it.
        output: What it wrote to standard output: one JSON document, if all went well.
        errors: What it wrote to standard error.
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
        done = subprocess.run(  # noqa: S603  # this package, and the job goes in by standard input
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
