"""Makes gRPC's core poll on the server's own thread. Imports no gRPC, which reads this setting when it is imported."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["poll_on_own_thread"]

_VARIABLES: Final = frozenset(("GRPC_EXPERIMENTS", "GRPC_POLL_STRATEGY"))


def poll_on_own_thread() -> bool:
    """Have the thread that polls do the reading and writing too. Requires: gRPC has not been imported yet.

    Core's newer engine reads and writes on threads of its own: each burst wakes one of them, which wakes the one that
    waits for events. An echo took 31 us of CPU with it and 19 us without; one at a time 120 us and 90 us on the clock
    (grpcio 1.85, 2026-11-26).

    Returns:
        Whether that will be so. Not where the operator has set gRPC's variables, and not off Linux, where core's older
        engine would need a thread for each completion queue.
    """
    if "grpc" in sys.modules:
        raise AssertionError("bug: gRPC was imported before it was told how to poll")
    if sys.platform != "linux" or _VARIABLES & os.environ.keys():
        return False
    os.environ["GRPC_EXPERIMENTS"] = "-event_engine_listener"
    return True
