"""The runtime layer: execution providers, sessions and the split of cores. The only package that imports onnxruntime.

Knows no gRPC, no queues and no repositories; a model comes in as bytes or a path and goes out as a session.
"""

__all__: list[str] = []
