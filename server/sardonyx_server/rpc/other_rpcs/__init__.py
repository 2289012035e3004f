"""Every RPC except inference, on a grpc.server and grpcio's public API. The lane forwards calls of them to it.

grpcio_server.py      that server
methods.py            which RPCs there are, and what serves each
behaviours.py         the way that each call of them goes
forwarded.py          who called
admin.py              what callers may only do where it is allowed

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
