"""Child process of ``check``: loads the one model that standard input names and writes what it found as JSON.

Whatever native code prints goes to standard error: standard output carries the result and nothing else.
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

__all__ = ["look_at", "main"]


def main() -> None:
    """Reads the job, loads, writes. A model that fails to load is a result and no error of this process."""
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    view = look_at(json.load(sys.stdin))
    with result:
        json.dump(view_to_json(view), result)


def look_at(job: Mapping[str, Any]) -> ModelView:
    """Loads one version.

    Args:
        job: ``paths``, ``model``, ``version`` and ``providers``, as ``check`` wrote them.
    """
    from sardonyx_server.repository.spec import BrokenModel

    name, version = job["model"], job["version"]
    spec = scan_paths([Path(path) for path in job["paths"]]).get(name)
    if spec is None or isinstance(spec, BrokenModel) or version not in spec.versions:
        return ModelView(name=name, version=version, state=FAILED, reason="it changed on disk while it was checked")
    try:
        return open_model(spec, version, settings_for(job["providers"]))
    except LoadFailed as error:
        return ModelView(name=name, version=version, state=FAILED, reason=error.message)


if __name__ == "__main__":
    main()
