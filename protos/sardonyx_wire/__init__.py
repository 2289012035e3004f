"""The wire contract of Sardonyx and the Python that speaks it: messages, datatypes, tensors. Knows no gRPC, no server.

Import the modules (``from sardonyx_wire.messages import ModelInferRequest``): nothing is re-exported here, so that a
reader of one module does not pay for the others.
"""

__all__: list[str] = []
