"""Colours and marks. Colours are names of CSS variables, so that one drawing serves light, dark and paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["MARKS", "SHARES", "Look", "among_many", "phase", "server", "share", "stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How something is told from its neighbours, with colour and without.

    Attributes:
        colour: Of a CSS variable: ``sardonyx`` is ``var(--sardonyx)``.
        mark: Of ``MARKS``.
    """

    colour: str
    mark: str = "disc"


MARKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "disc": "M-3.6,0a3.6,3.6 0 1 0 7.2,0a3.6,3.6 0 1 0 -7.2,0z",
        "square": "M-3.2,-3.2h6.4v6.4h-6.4z",
        "diamond": "M0,-4.6L4.6,0L0,4.6L-4.6,0z",
        "up": "M0,-4.4L4.2,3.2H-4.2z",
        "down": "M0,4.4L4.2,-3.2H-4.2z",
        "bar": "M-1.6,-4.4h3.2v8.8h-3.2z",
        "flat": "M-4.4,-1.6h8.8v3.2h-8.8z",
        "plus": "M-1.4,-4.4h2.8v3h3v2.8h-3v3h-2.8v-3h-3v-2.8h3z",
    }
)
"""Name -> path around 0,0."""

_SERVERS: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "sardonyx": Look(colour="sardonyx", mark="disc"),
        "sardonyx-grpcio": Look(colour="grpcio", mark="diamond"),
        "triton": Look(colour="blue", mark="square"),
        "mlserver": Look(colour="violet", mark="up"),
        "kserve": Look(colour="teal", mark="down"),
        "bentoml": Look(colour="olive", mark="bar"),
        "litserve": Look(colour="pink", mark="flat"),
        "mosec": Look(colour="sky", mark="plus"),
        "ray-serve": Look(colour="green", mark="diamond"),
        "echo": Look(colour="grey", mark="square"),
        "cpp-echo": Look(colour="ink-soft", mark="up"),
    }
)
_STAGES: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "transport": Look(colour="grey"),
        "decode": Look(colour="violet"),
        "queue": Look(colour="sand"),
        "gather": Look(colour="teal"),
        "run": Look(colour="sardonyx"),
        "encode": Look(colour="blue"),
    }
)
SHARES: Final = ("load-1", "load-2", "load-3", "load-4", "load-5")
"""Colours from a light load to a heavy one."""
_PHASES: Final = (Look(colour="grey"), Look(colour="sardonyx"), Look(colour="teal"), Look(colour="blue"))
_SPARE: Final = ("blue", "violet", "teal", "olive", "pink", "sky", "green", "grey")


def server(name: str) -> Look:
    """The same on every plot of every run; a server nobody has heard of gets one by its name."""
    return _SERVERS.get(name) or Look(colour=_spare(name), mark=sorted(MARKS)[sum(name.encode()) % len(MARKS)])


def stage(name: str) -> Look:
    """Of a stage of a request."""
    return _STAGES.get(name) or Look(colour=_spare(name))


def share(number: int, count: int) -> Look:
    """Of the load number ``number`` of ``count`` loads, from light to heavy."""
    place = round(number * (len(SHARES) - 1) / max(count - 1, 1))
    return Look(colour=SHARES[place], mark=tuple(MARKS)[place])


def phase(number: int) -> Look:
    """Of what comes before, during and after something."""
    return _PHASES[number % len(_PHASES)]


def among_many(number: int) -> Look:
    """Of one of any number of lines; colours and marks go round at different pace, so few are alike."""
    return Look(colour=_SPARE[number % len(_SPARE)], mark=tuple(MARKS)[(number + number // len(_SPARE)) % len(MARKS)])


def _spare(name: str) -> str:
    return _SPARE[sum(name.encode()) % len(_SPARE)]
