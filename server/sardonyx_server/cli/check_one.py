"""Child process of ``check``: loads the model named on standard input and writes the result as JSON.

Output of native code is redirected to standard error, so that standard output carries only the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sardonyx_server.cli.inspect_model import settings_for
from sardonyx_server.cli.loading import open_model, scan_paths
from sardonyx_server.cli.views import FAILED, ModelView, view_to_json
from sardonyx_server.errors import LoadFailed

__all__ = ["check_version", "main"]


def main() -> None:
    """Reads the job, loads the model, writes the result. A model that fails to load is a result, not an error here."""
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    view = check_version(json.load(sys.stdin))
    with result:
        json.dump(view_to_json(view), result)


def check_version(job: Mapping[str, Any]) -> ModelView:
    """Loads one version.

    Args:
        job: ``paths``, ``model``, ``version`` and ``providers``, as ``check`` wrote them.
    """
    from sardonyx_server.repository.spec import BrokenModel

    name, version = job["model"], job["version"]
    spec = scan_paths([Path(path) for path in job["paths"]]).get(name)
    if spec is None or isinstance(spec, BrokenModel) or version not in spec.versions:
        return ModelView(name=name, version=version, state=FAILED, reason="it changed on disk during the check")
    try:
        return open_model(spec, version, settings_for(job["providers"]))
    except LoadFailed as error:
        return ModelView(name=name, version=version, state=FAILED, reason=error.message)


if __name__ == "__main__":
    main()
