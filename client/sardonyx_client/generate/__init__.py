"""Generates typed Python code: signatures -> text of files. Pure: no server, no connection, no disk.

The output is deterministic, and ``ruff format`` does not change it at any line length from 79.
"""

from __future__ import annotations

from sardonyx_client.generate._module import MARK, generate

__all__ = ["MARK", "generate"]
