"""The peers that Sardonyx is compared with, and the settings to try of each. Installs and starts nothing.

README.md explains the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["MODELS", "MORE_MODELS", "PEERS", "Peer", "Protocol", "Setting", "peers"]

MODELS: Final = ("iris", "mlp", "orientation", "magika")
"""Models of ``bench/cases.py`` that are measured unless others are asked for."""

MORE_MODELS: Final = ("forest", "batches")
"""Others that every peer can serve: each has one input, which a body of plain bytes needs."""


class Protocol(StrEnum):
    """Protocol of a peer."""

    OIP = "gRPC"
    """The Open Inference Protocol: it gets the same messages as Sardonyx."""
    HTTP = "HTTP/1.1"
    """Plain bytes of the row in, plain bytes of the outputs out: not comparable, for orientation only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration of a peer.

    Attributes:
        name: Name in reports.
        values: Settings passed to its ``serve.py``.
    """

    name: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another server.

    Attributes:
        name: ``Benchmark.server`` in a stored run, and its folder.
        title: Name in reports.
        protocol: Its protocol.
        settings: Settings to try, in this order; see README.md.
        path: Path of its HTTP endpoint.
        least: Model -> factor by which Sardonyx must exceed its throughput; 1 for other models.
    """

    name: str
    title: str
    protocol: Protocol
    settings: tuple[Setting, ...]
    path: str = "/predict"
    least: Mapping[str, float] = field(default_factory=dict)


def peers(cores: int) -> Mapping[str, Peer]:
    """All peers by name.

    Args:
        cores: Cores shared by servers and load; settings with one instance and with one for each core are tried.
    """
    alone: dict[str, object] = {"instances": 1, "threads": 1}
    each: dict[str, object] = {"instances": cores, "threads": 1}
    one = f"1 instance of {cores} threads"
    joined: dict[str, object] = {"max_batch_size": 32, "max_batch_time_s": 0.001}
    within = "batches of 32 within 1 ms"
    found = (
        Peer(
            name="triton",
            title="Triton (nvidia-pytriton, Python backend)",
            protocol=Protocol.OIP,
            settings=(
                Setting(name="1 instance, dynamic batching", values=alone),
                Setting(name=f"{cores} instances, dynamic batching", values=each),
                Setting(name="1 instance, dynamic batching within 200 us", values={**alone, "max_delay_us": 200}),
                Setting(name=f"{one}, dynamic batching", values={"instances": 1, "threads": cores}),
                Setting(name=f"{cores} instances, no batching", values={**each, "max_batch_size": 1}),
            ),
        ),
        Peer(
            name="mlserver",
            title="MLServer",
            protocol=Protocol.OIP,
            settings=(
                Setting(name="in its own process", values=alone),
                Setting(name=f"in its own process, {within}", values={**alone, **joined}),
                Setting(name=f"{cores} parallel workers", values={**alone, "workers": cores}),
            ),
            least={"iris": 15.0},
        ),
        Peer(
            name="kserve",
            title="KServe SDK",
            protocol=Protocol.OIP,
            settings=(
                Setting(name="on its event loop", values=alone),
                Setting(name=f"on {cores} threads", values={**each, "inline": False}),
                Setting(name=f"on its event loop, {one}", values={"instances": 1, "threads": cores}),
            ),
        ),
        Peer(
            name="bentoml",
            title="BentoML",
            protocol=Protocol.HTTP,
            settings=(
                Setting(name="1 worker, on its event loop", values={**alone, "workers": 1}),
                Setting(name=f"{cores} workers, on their event loops", values={**alone, "workers": cores}),
                Setting(name=f"1 worker, on {cores} threads", values={**each, "workers": 1, "inline": False}),
            ),
        ),
        Peer(
            name="litserve",
            title="LitServe",
            protocol=Protocol.HTTP,
            settings=(
                Setting(name="1 worker", values=alone),
                Setting(name=f"1 worker, {within}", values={**alone, **joined}),
                Setting(
                    name=f"1 worker, {within}, {cores} API servers", values={**alone, **joined, "api_servers": cores}
                ),
                Setting(name=f"{cores} workers", values=each),
                Setting(name=f"{cores} workers, {cores} API servers", values={**each, "api_servers": cores}),
            ),
        ),
        Peer(
            name="mosec",
            title="mosec",
            protocol=Protocol.HTTP,
            path="/inference",
            settings=(
                Setting(name="1 worker", values=alone),
                Setting(name=f"1 worker, {within}", values={**alone, **joined}),
                Setting(
                    name=f"1 worker of {cores} threads, {within}", values={**joined, "instances": 1, "threads": cores}
                ),
                Setting(name=f"{cores} workers", values=each),
                Setting(name=f"{cores} workers, {within}", values={**each, **joined}),
            ),
        ),
        Peer(
            name="ray-serve",
            title="Ray Serve",
            protocol=Protocol.HTTP,
            settings=(
                Setting(name="1 replica", values=alone),
                Setting(name=f"1 replica, {within}", values={**alone, **joined}),
                Setting(name=f"{cores} replicas", values=each),
            ),
        ),
    )
    return MappingProxyType({peer.name: peer for peer in found})


PEERS: Final = tuple(peers(1))
"""Their names."""
