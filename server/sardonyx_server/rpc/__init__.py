"""All code that knows gRPC: the two transports of inference (the lane, and one on grpcio) and every other RPC.

The transports of inference:

    transports.py             chooses the transport
    self_check.py             checks at the start whether the lane works on this system
    lane/                     the lane: our own HTTP/2 server
    grpcio_transport.py       ModelInfer on grpcio's public API
    grpcio_stream.py          ModelStreamInfer on grpcio's public API
    grpcio_call.py            one call of either RPC on grpcio's public API
    tls.py                    TLS certificates and keys, for both transports
    listening.py              the error for an address that cannot be bound, for both transports
    stream.py                 the rules of one ModelStreamInfer, for both transports
    response_size_limit.py    the error for a response that is too large, for both transports
    event_loop_lag.py         measures how late the lane's thread processes its events

The other RPCs:

    other_rpcs/               every RPC except inference, on a grpc.server

For all RPCs:

    access_control.py         which callers may call which RPCs
    token_file.py             the tokens of access control, read from a file
    status.py                 maps errors to gRPC statuses
"""
