"""What measuring a model has found, remembered by the model's content, so that the same content is measured once.

Measuring takes most of the time of a load, and cores from whoever is served meanwhile. Measures nothing itself, and
remembers only as long as the process lives: other machines, cores and versions of onnxruntime never see it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from sardonyx_server.runtime.splits import fastest

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sardonyx_server.engine.measuring.verdict import Verdict
    from sardonyx_server.runtime.splits import Split

__all__ = ["Findings", "FindingsByContent"]

ContentKey: TypeAlias = "Hashable"
"""Equal for two versions exactly where measuring them does the same."""

# Some hundred bytes each, for every content that was ever loaded; servers have tens of models.
_MOST: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was measured of one model.

    Attributes:
        verdict: The probe's, before the config had its word.
        splits: Divisions of the cores, in the order in which they were measured; () where none was needed.
        widens: Whether a caller that is alone has all cores; None = not measured.
    """

    verdict: Verdict
    splits: tuple[Split, ...] = ()
    widens: bool | None = None

    @property
    def threads(self) -> int:
        """Of one run, where the cores are divided as was fastest."""
        return fastest(self.splits).threads if self.splits else 1


class FindingsByContent:
    """The findings of the contents that were loaded last. For one thread, the loader's.

    Args:
        most: So many are kept; the one that was not used for longest goes first.
    """

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[ContentKey, Findings] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: ContentKey) -> Findings | None:
        """What was found about this content, or None."""
        findings = self._kept.get(key)
        if findings is not None:
            self._kept.move_to_end(key)
        return findings

    def keep(self, key: ContentKey, findings: Findings) -> None:
        """Remember; but not of a model that could not be run: perhaps it can the next time."""
        if not findings.verdict.curve:
            return
        self._kept[key] = findings
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
