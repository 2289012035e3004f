"""Writes metric families in Prometheus's text exposition format 0.0.4.

The writer of ``prometheus_client`` appends ``_total`` to every counter. Triton's counters have no such suffix, and
existing dashboards and autoscalers query Triton's names. This writer keeps the name of the samples, and writes whole
numbers without a decimal point, as Triton does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

__all__ = ["text"]

# Label sets, cached because every scrape has the same ones and formatting them is most of the work. About 70 per model.
_CACHED_LABEL_SETS: Final = 8192
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text(families: Iterable[Metric]) -> bytes:
    """The families as text, in order; those without samples are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            # prometheus_client removes the suffix of a counter from the name of its family.
            name = family.samples[0].name if family.type == "counter" else family.name
            lines.append(f"# HELP {name} {family.documentation.translate(_IN_HELP)}\n")
            lines.append(f"# TYPE {name} {family.type}\n")
            lines += map(_line, family.samples)
    return "".join(lines).encode()


def _line(sample: Sample) -> str:
    labels = sample.labels
    return f"{sample.name}{_in_braces(tuple(labels.items())) if labels else ''} {sample.value}\n"


@lru_cache(_CACHED_LABEL_SETS)
def _in_braces(labels: tuple[tuple[str, str], ...]) -> str:
    # Sorted by name, as Triton writes them.
    texts = ",".join(f'{name}="{of.translate(_IN_LABEL)}"' for name, of in sorted(labels))
    return f"{{{texts}}}"
