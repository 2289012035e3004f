"""Writes typed Python for models: signatures in, text of files out. Pure: no server, no connection, no disk.

The same signatures give the same bytes, and ``ruff format`` leaves them as they are, at any line length from 79.
"""

from __future__ import annotations

from sardonyx_client.generate._module import MARK, generate

__all__ = ["MARK", "generate"]
