"""Which models shall be served: what lies on disk, of that what the operator named, and what becomes of it.

Only looks and says so; ``lifecycle`` brings what is served in line with it.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sardonyx_server.repository.scan import scan
from sardonyx_server.repository.spec import BrokenModel
from sardonyx_server.repository.watch import RepositoryWatcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.engine.models.lifecycle import Lifecycle
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.repository.spec import ModelSpec
    from sardonyx_server.settings import Settings

__all__ = ["DesiredModels"]

_LOG = logging.getLogger("sardonyx.models")


class DesiredModels:
    """The models of one server's repositories that its operator wants served.

    Args:
        settings: Where the repositories are, and which of their models to load.
        registry: What is served.
        lifecycle: Loads and unloads.
    """

    def __init__(self, settings: Settings, registry: Registry, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._registry = registry
        self._lifecycle = lifecycle
        self._wanted: Mapping[str, ModelSpec | BrokenModel] = {}
        self._watch = (
            RepositoryWatcher(settings.model_repository, poll_interval_s=settings.repository_poll_secs)
            if settings.model_control_mode == "poll"
            else None
        )

    @property
    def all_ready(self) -> bool:
        """Whether each has a version that is ready, or was unloaded by a caller. Any thread."""
        entries = self._registry.entries()
        return all(
            name in entries and (entries[name].newest_ready is not None or entries[name].is_unloaded)
            for name in self._wanted
        )

    def load(self) -> threading.Event:
        """Look at the disk, and have what lies there served. Blocks for the look alone.

        Returns:
            Set when what could be loaded is served. Until then each model is known, though not ready.
        """
        return self._begin_to_serve(self.look())

    def follow(self) -> None:
        """In poll mode serve from now on what becomes of them, on a thread of its own. Once, after :meth:`load`."""
        if self._watch is None:
            return
        if self._watch.polling_reason:
            _LOG.info(
                "changes on disk are found by polling alone",
                extra={"poll_secs": self._settings.repository_poll_secs, "reason": self._watch.polling_reason},
            )
        threading.Thread(target=self._watch.run, args=(self._wanted, self._serve), name="watch", daemon=True).start()

    def stop(self) -> None:
        """Follow no more. Does not block; also before :meth:`follow`."""
        if self._watch is not None:
            self._watch.stop()

    def look(self) -> Mapping[str, ModelSpec | BrokenModel]:
        """What lies on disk and shall be served."""
        settings = self._settings
        found = scan(settings.model_repository)
        if settings.model_control_mode != "explicit" or "*" in settings.load_model:
            return found
        wanted = {name: found.get(name) or _absent(name, found) for name in settings.load_model}
        for name, model in found.items():
            if name not in wanted:
                # Known, so that callers hear that it is not loaded, not that there is no such model.
                self._registry.set_problem(name, model.reason if isinstance(model, BrokenModel) else "")
        return wanted

    def _serve(self, found: Mapping[str, ModelSpec | BrokenModel]) -> None:
        """Of changes on the watch's thread."""
        self._begin_to_serve(found).wait()

    def _begin_to_serve(self, found: Mapping[str, ModelSpec | BrokenModel]) -> threading.Event:
        self._wanted = found
        return self._lifecycle.reconcile(found)


def _absent(name: str, found: Mapping[str, ModelSpec | BrokenModel]) -> BrokenModel:
    """What --load-model names and no repository has: shown as a model that failed, so that readiness tells."""
    known = ", ".join(sorted(found)) or "no models"
    reason = f"--load-model names it, but no repository has it; there are {known}"
    return BrokenModel(name=name, folder=Path(), reason=reason, fingerprint="")
