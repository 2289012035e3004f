"""All that knows gRPC: the lane of inference, its twin on grpcio's public API, and every other RPC.

What serves inference:

    transports.py         which of the two does here
    self_check.py         whether the lane works here
    lane/                 the lane: an HTTP/2 of our own
    public_api.py         ModelInfer on grpcio's public API
    public_stream.py      ModelStreamInfer on it
    public_call.py        one call of either
    tls.py                certificates and keys for TLS, on either
    listening.py          the error where the port is taken, on either
    stream.py             the rules of one ModelStreamInfer, on either
    answer_limit.py       answers that are too large, on either
    lag.py                how late the lane's thread gets to its events

What serves the rest:

    other_rpcs/           every RPC except inference, on a grpc.server

For all of them:

    access_control.py     who may call what
    token_file.py         the tokens it goes by, from a file
    status.py             errors -> statuses
"""
