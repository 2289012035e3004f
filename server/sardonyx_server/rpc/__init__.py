"""All that knows gRPC: the lane of ModelInfer, its twin on the public API, and every other RPC.

One module, ``completion_queue``, touches grpcio's private API.
"""
