"""Headless Chromium as a reader: it shows a page in frames of several widths, and a script tells what is to be seen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Frame", "chromium", "look"]

_PROBE = Path(__file__).with_name("probe.js")
_LIMIT_S = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A window onto the page.

    Attributes:
        name: For what was seen in it.
        width: In pixels.
        scheme: ``light`` or ``dark``: what the reader's system prefers.
    """

    name: str
    width: int
    scheme: str = "light"


def chromium() -> str | None:
    """Where it is installed; None where it is not."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def look(page: str, frames: Sequence[Frame], folder: Path) -> dict[str, Any]:
    """Name of a frame -> what ``probe.js`` found in it.

    A frame, not a window: no browser makes its window as narrow as a phone.
    """
    command = chromium()
    assert command is not None, "the caller has made sure"
    shown = "\n".join(
        f'<iframe name="{frame.name}" style="width: {frame.width}px; height: 900px; border: 0; '
        f'color-scheme: {frame.scheme}" srcdoc="{html.escape(page)}"></iframe>'
        for frame in frames
    )
    file = folder / "frames.html"
    probe = f"<pre id=seen></pre><script>{_PROBE.read_text()}</script>"
    # Without the charset Chromium guesses, and not always right.
    file.write_text(f'<!doctype html>\n<meta charset="utf-8">\n{shown}\n{probe}', "utf-8")
    done = subprocess.run(
        [
            command,
            "--headless",
            "--no-sandbox",  # it is root in a container, and reads nothing but this page
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen
