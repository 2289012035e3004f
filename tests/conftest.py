"""What holds for all tests: a slow machine fails none of hypothesis' examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("sardonyx", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sardonyx")
