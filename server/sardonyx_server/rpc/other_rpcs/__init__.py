"""Every RPC except inference, on a grpc.server and grpcio's public API. The lane forwards these calls to it.

grpcio_server.py      makes the grpc.server
methods.py            the table of RPCs and their handlers
behaviours.py         the common path of every call
peer.py               the address of the caller of a forwarded call
admin.py              the check of calls that change the server

introspection.py      ServerLive, ServerReady, ServerMetadata, ModelReady, ModelMetadata, ModelConfig
statistics.py         ModelStatistics
model_repository.py   RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload
load_parameters.py    the parameters of RepositoryModelLoad and RepositoryModelUnload
shared_memory.py      SystemSharedMemory..., CudaSharedMemory...
trace_settings.py     TraceSetting
log_settings.py       LogSettings
health.py             grpc.health.v1
reflection.py         gRPC server reflection
"""
