"""The lane: ModelInfer over a small HTTP/2 of our own, where it is certain to do what grpc's channel does.

grpcio's cost is in its Python layer: some 200 us of CPU for a call that the lane makes in a third of that. The channel
is its slow twin, which takes every call that is not plain: see ``target.py`` and ``request.py`` for what is. Frames and
header blocks are sardonyx_wire.http2's.

    target.py       which addresses the lane can go to
    request.py      metadata and deadline -> the header block of a request
    fields.py       a header block of the server -> what gRPC says in it
    failure.py      how a call fails
    answer.py       one call's answer as it arrives, and how it ended
    stream.py       one call on a connection
    frame_reader.py bytes -> frames
    outflow.py      what goes to the server, as far as its windows allow
    connection.py   one HTTP/2 connection, without I/O
    attempts.py     when a failed call is made again
    sockets.py      what lines want of their sockets, the load generator's (sardonyx_server.load) among them
    line.py         a connection of a thread
    blocking.py     the lane of threads
    task_line.py    a connection of an event loop
    tasks.py        the lane of an event loop
"""

__all__: list[str] = []
