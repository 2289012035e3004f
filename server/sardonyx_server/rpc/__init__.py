"""All that knows gRPC: the lane of inference, its twin on grpcio's public API, and every other RPC.

What serves inference:

    transports.py         which of the two does here
    self_check.py         whether the lane works here
    lane/                 the lane: an HTTP/2 of our own
    public_api.py         ModelInfer on grpcio's public API
    public_stream.py      ModelStreamInfer on it
    listening.py          the error where the port is taken, on either
    stream.py             the rules of one ModelStreamInfer, on either
    answer_limit.py       answers that are too large, on either
    lag.py                how late the lane's thread gets to its events

All other RPCs, which a stock server takes:

    stock_server.py       that server
    methods.py            which RPCs there are, and what serves each
    behaviours.py         the way that each call of them goes
    forwarded.py          who called
    admin.py              what callers may only do where it is allowed
    status.py             errors -> statuses

    introspection.py      ServerLive, ServerReady, ServerMetadata, ModelReady, ModelMetadata, ModelConfig
    statistics.py         ModelStatistics
    model_repository.py   RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload
    load_parameters.py    the parameters of the last two
    shared_memory.py      SystemSharedMemory..., CudaSharedMemory...
    trace_settings.py     TraceSetting
    log_settings.py       LogSettings
    health.py             grpc.health.v1
    reflection.py         reflection
"""
