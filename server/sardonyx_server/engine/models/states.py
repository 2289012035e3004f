"""Lifecycle states of model versions, and the registry's entry of a model.

State machine of a version:

    NEW -> LOADING -> WARMING -> READY -> DRAINING -> CLOSED -> LOADING
              any of the first three -> FAILED(reason)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.engine.running.model import Model

__all__ = ["Entry", "State", "VersionStatus"]


class State(StrEnum):
    """State of one version."""

    NEW = "NEW"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """One version of a model.

    Attributes:
        number: The version.
        state: Its lifecycle state.
        reason: Why the state is not READY; may be shown to callers.
        model: Set while READY.
    """

    number: int
    state: State
    reason: str = ""
    model: Model | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One known model.

    Attributes:
        name: Its name.
        versions: By number, ascending; empty for a model that is broken as a whole or was never loaded.
        problem: Why the model as a whole cannot be served; "" if it can.
    """

    name: str
    versions: Mapping[int, VersionStatus]
    problem: str = ""

    @property
    def newest_ready(self) -> Model | None:
        """The version that answers requests without a version; None if none is ready."""
        ready = [status.model for status in self.versions.values() if status.model is not None]
        return ready[-1] if ready else None

    @property
    def is_unloaded(self) -> bool:
        """Whether it is not served because it was unloaded."""
        states = {status.state for status in self.versions.values()}
        return bool(states) and states <= {State.DRAINING, State.CLOSED}
