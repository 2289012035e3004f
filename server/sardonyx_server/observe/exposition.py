"""Families of samples -> Prometheus's text format 0.0.4.

``prometheus_client`` has a writer of its own, which gives every counter the ending ``_total``. Triton's counters have
none, and what people's dashboards and autoscalers ask for are Triton's names. Here a counter is called what its samples
are called; whole numbers have no decimal point, as Triton writes them, for those who read the text by hand.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

__all__ = ["text"]

# Every scrape has the same labels: they are most of the work. Some 70 for each model.
_REMEMBERED: Final = 8192
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text(families: Iterable[Metric]) -> bytes:
    """Write them, in order; a family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            # prometheus_client keeps the ending of a counter apart from the name of the family.
            name = family.samples[0].name if family.type == "counter" else family.name
            lines.append(f"# HELP {name} {family.documentation.translate(_IN_HELP)}\n")
            lines.append(f"# TYPE {name} {family.type}\n")
            lines += map(_line, family.samples)
    return "".join(lines).encode()


def _line(sample: Sample) -> str:
    labels = sample.labels
    return f"{sample.name}{_in_braces(tuple(labels.items())) if labels else ''} {sample.value}\n"


@lru_cache(_REMEMBERED)
def _in_braces(labels: tuple[tuple[str, str], ...]) -> str:
    # In the order of their names, as Triton has them.
    texts = ",".join(f'{name}="{of.translate(_IN_LABEL)}"' for name, of in sorted(labels))
    return f"{{{texts}}}"
