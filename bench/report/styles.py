"""Colours and markers. Colours are names of CSS variables, so that one drawing suits light, dark and print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["MARKS", "SHARES", "Style", "among_many", "phase", "server", "share", "stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Colour and mark that distinguish a series, also without colour.

    Attributes:
        colour: Name of a CSS variable: ``sardonyx`` is ``var(--sardonyx)``.
        mark: Key of ``MARKS``.
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

_SERVERS: Final[Mapping[str, Style]] = MappingProxyType(
    {
        "sardonyx": Style(colour="sardonyx", mark="disc"),
        "sardonyx-grpcio": Style(colour="grpcio", mark="diamond"),
        "triton": Style(colour="blue", mark="square"),
        "mlserver": Style(colour="violet", mark="up"),
        "kserve": Style(colour="teal", mark="down"),
        "bentoml": Style(colour="olive", mark="bar"),
        "litserve": Style(colour="pink", mark="flat"),
        "mosec": Style(colour="sky", mark="plus"),
        "ray-serve": Style(colour="green", mark="diamond"),
        "echo": Style(colour="grey", mark="square"),
        "cpp-echo": Style(colour="ink-soft", mark="up"),
    }
)
_STAGES: Final[Mapping[str, Style]] = MappingProxyType(
    {
        "transport": Style(colour="grey"),
        "decode": Style(colour="violet"),
        "queue": Style(colour="sand"),
        "gather": Style(colour="teal"),
        "run": Style(colour="sardonyx"),
        "encode": Style(colour="blue"),
    }
)
SHARES: Final = ("load-1", "load-2", "load-3", "load-4", "load-5")
"""Colours from light to heavy loads."""
_PHASES: Final = (Style(colour="grey"), Style(colour="sardonyx"), Style(colour="teal"), Style(colour="blue"))
_SPARE: Final = ("blue", "violet", "teal", "olive", "pink", "sky", "green", "grey")


def server(name: str) -> Style:
    """Style of a server, the same in every plot; an unknown server gets one derived from its name."""
    return _SERVERS.get(name) or Style(colour=_spare(name), mark=sorted(MARKS)[sum(name.encode()) % len(MARKS)])


def stage(name: str) -> Style:
    """Style of a stage of a request."""
    return _STAGES.get(name) or Style(colour=_spare(name))


def share(number: int, count: int) -> Style:
    """Style of load ``number`` of ``count``, from light to heavy."""
    place = round(number * (len(SHARES) - 1) / max(count - 1, 1))
    return Style(colour=SHARES[place], mark=tuple(MARKS)[place])


def phase(number: int) -> Style:
    """Style of a phase, such as before, during and after."""
    return _PHASES[number % len(_PHASES)]


def among_many(number: int) -> Style:
    """Style of one of many lines. Colours and marks repeat with different periods, so few are alike."""
    return Style(colour=_SPARE[number % len(_SPARE)], mark=tuple(MARKS)[(number + number // len(_SPARE)) % len(MARKS)])


def _spare(name: str) -> str:
    return _SPARE[sum(name.encode()) % len(_SPARE)]
