"""Runtime support of the modules that ``sardonyx client generate`` writes. Not for direct use."""

from __future__ import annotations

from sardonyx_client._generated import AsyncGeneratedModel, GeneratedModel
from sardonyx_client._signature import ModelSignature
from sardonyx_client._timeout import CLIENT_DEFAULT, Timeout
from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "CLIENT_DEFAULT",
    "AsyncGeneratedModel",
    "GeneratedModel",
    "ModelSignature",
    "TensorSpec",
    "Timeout",
]
