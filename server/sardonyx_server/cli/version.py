"""The command ``version``: installed versions, and the execution providers of this machine."""

from __future__ import annotations

import platform
from importlib import metadata

from sardonyx_server.cli.output import write_json, write_line

__all__ = ["run_version", "versions"]

# onnxruntime is distributed under several names; the first that is installed is in use.
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-migraphx", "onnxruntime")


def run_version(*, as_json: bool) -> int:
    """Prints versions and execution providers."""
    found: dict[str, object] = {**versions(), "providers": _providers()}
    if as_json:
        write_json(found)
    else:
        for name, value in found.items():
            write_line(f"{name:<12}{', '.join(value) if isinstance(value, list) else value}")
    return 0


def versions() -> dict[str, str]:
    """Distribution -> version, or "not installed"."""
    runtime = next((name for name in _RUNTIMES if _version(name) is not None), "onnxruntime")
    names = {"grpcio": "grpcio", "protobuf": "protobuf", "onnxruntime": runtime, "numpy": "numpy"}
    return {
        "sardonyx": _version("sardonyx") or "not installed",
        "python": platform.python_version(),
        **{shown: _version(name) or "not installed" for shown, name in names.items()},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> list[str]:
    """Installed execution providers, by the names of ``--providers``; empty if onnxruntime is missing."""
    from sardonyx_server.errors import SettingsError
    from sardonyx_server.runtime.environment import describe_environment

    try:
        return list(describe_environment().usable)
    except SettingsError:
        return []  # the line for onnxruntime says "not installed"
