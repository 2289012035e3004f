"""A model for MLServer that answers what it was asked. Loaded by MLServer, in its own environment.

Knows nothing of this project.
"""

from __future__ import annotations

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Echo(MLModel):  # type: ignore[misc]  # mlserver is in its own environment only
    """Every input comes back as an output of the same name."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Echo."""
        outputs = [
            ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
            for tensor in payload.inputs
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)
