"""A keyboard interrupt at any moment of a function: where CPython looks for signals, one place after the other."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

__all__ = ["Interruption"]

# After these the interpreter looks whether a signal has come: a call, the beginning of a function, a turn of a loop.
_LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")


class Interruption:
    """One, at a place that is counted.

    Args:
        place: How many places are passed before it.
        inside: Name of a file of code -> whether its places count.

    Attributes:
        came: Whether there were so many places.
    """

    def __init__(self, place: int, inside: Callable[[str], bool]) -> None:
        self.came = False
        self._left = place
        self._inside = inside
        # What each frame did last.
        self._last: dict[FrameType, str] = {}

    def run(self, function: Callable[[], object]) -> object:
        """Call a function on this thread. Raises KeyboardInterrupt where it came, unless the function deals with it."""
        before = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            return function()
        finally:
            sys.settrace(before)

    def _on_call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if not self._inside(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._on_step

    def _on_step(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            last, self._last[frame] = self._last.get(frame, ""), _name(frame.f_code, frame.f_lasti)
            if last.startswith(_LOOKS):
                if not self._left and not self.came:
                    self.came = True
                    raise KeyboardInterrupt
                self._left -= 1
        elif event == "return":
            self._last.pop(frame, None)
        return self._on_step


def _name(code: CodeType, at: int) -> str:
    return dis.opname[code.co_code[at]]
