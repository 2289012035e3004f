"""The client's own HTTP/2 transport, which carries ModelInfer where it is certain to behave as grpcio's channel does.

grpcio spends some 200 us of CPU on a call, most of it in its Python layer; this transport needs a third of that.
grpcio's channel takes every call that this transport does not support: ``endpoint.py`` and ``request_headers.py`` say
which. Frames and HPACK come from ``sardonyx_wire.http2``.

Connection state, without I/O:

    request_headers.py      metadata and deadline -> the header block of a request
    response_headers.py     header block of a response -> headers or trailers
    response.py             one call's response as it arrives, and how the call ended
    stream.py               one call on a connection: the request cut into frames, and the response
    frame_reader.py         bytes -> frames
    flow_control.py         what may be sent now (flow-control windows)
    connection.py           one HTTP/2 connection
    retry.py                retry policy, backoff and retry throttling
    errors.py               errors, as ``grpc.RpcError``

Connections and channels:

    endpoint.py             which addresses this transport supports; the configuration of a channel
    sockets.py              socket options and vectored writes; the load generator (sardonyx_server.load) uses them too
    blocking_connection.py  a connection on a blocking socket, for one thread at a time
    channel.py              for threads: a pool of such connections, and retries
    async_connection.py     a connection on an asyncio transport, for any number of calls
    async_channel.py        for an event loop: one shared connection, and retries
"""

__all__: list[str] = []
