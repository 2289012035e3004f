"""The desired state: which of the models on disk the operator wants served, at start and, in poll mode, from then on.

Only determines it; lifecycle.py reconciles the served models with it.
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
    """The models that the operator of this server wants served.

    Args:
        settings: The model repositories, and which of their models to load.
        registry: The served models.
        lifecycle: Loads and unloads.
    """

    def __init__(self, settings: Settings, registry: Registry, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._registry = registry
        self._lifecycle = lifecycle
        self._desired: Mapping[str, ModelSpec | BrokenModel] = {}
        self._watch = (
            RepositoryWatcher(settings.model_repository, poll_interval_s=settings.repository_poll_secs)
            if settings.model_control_mode == "poll"
            else None
        )

    @property
    def all_ready(self) -> bool:
        """Whether every desired model has a ready version, or was unloaded by a caller. Any thread."""
        entries = self._registry.entries()
        return all(
            name in entries and (entries[name].newest_ready is not None or entries[name].is_unloaded)
            for name in self._desired
        )

    def load(self) -> threading.Event:
        """Scan the repositories, and start to load what they have. Blocks only for the scan.

        Returns:
            Set when all models that could be loaded are served. Until then each model is known, but not ready.
        """
        return self._reconcile(self.scan())

    def follow(self) -> None:
        """In poll mode, follow changes on disk from now on, on a separate thread. Once, after :meth:`load`."""
        if self._watch is None:
            return
        if self._watch.polling_reason:
            _LOG.info(
                "changes on disk are found by polling alone",
                extra={"poll_secs": self._settings.repository_poll_secs, "reason": self._watch.polling_reason},
            )
        threading.Thread(target=self._watch.run, args=(self._desired, self._apply), name="watch", daemon=True).start()

    def stop(self) -> None:
        """Stop following changes. Does not block. May be called before :meth:`follow`."""
        if self._watch is not None:
            self._watch.stop()

    def scan(self) -> Mapping[str, ModelSpec | BrokenModel]:
        """Scan the repositories. Returns the desired models, by name."""
        settings = self._settings
        found = scan(settings.model_repository)
        if settings.model_control_mode != "explicit" or "*" in settings.load_model:
            return found
        desired = {name: found.get(name) or _absent(name, found) for name in settings.load_model}
        for name, model in found.items():
            if name not in desired:
                # Registered, so that callers hear that it is not loaded instead of that it is unknown.
                self._registry.set_problem(name, model.reason if isinstance(model, BrokenModel) else "")
        return desired

    def _apply(self, found: Mapping[str, ModelSpec | BrokenModel]) -> None:
        """Reconcile after a change, on the watch thread. Blocks until it is done."""
        self._reconcile(found).wait()

    def _reconcile(self, found: Mapping[str, ModelSpec | BrokenModel]) -> threading.Event:
        self._desired = found
        return self._lifecycle.reconcile(found)


def _absent(name: str, found: Mapping[str, ModelSpec | BrokenModel]) -> BrokenModel:
    """A model that --load-model names and no repository has: it counts as failed, so that the server is not ready."""
    known = ", ".join(sorted(found)) or "no models"
    reason = f"--load-model names it, but no repository has it; there are {known}"
    return BrokenModel(name=name, folder=Path(), reason=reason, fingerprint="")
