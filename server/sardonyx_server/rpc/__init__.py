"""All that knows gRPC: the lane of inference, its twin on grpcio's public API, and every other RPC."""
