"""What holds for all tests: a slow machine fails none of hypothesis' examples, and one may configure the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("sardonyx", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sardonyx")


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Undoes what a test does to the log of the process, as the command does where it runs in it."""
    # Not at the top: the client's tests run where the server's packages are not installed.
    from sardonyx_server.observe import logs

    root, own = logging.getLogger(), logging.getLogger("sardonyx")
    handlers, root_level, own_level, levels = list(root.handlers), root.level, own.level, logs.levels()
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    logs.set_levels(levels)
    own.setLevel(own_level)
    root.setLevel(root_level)
