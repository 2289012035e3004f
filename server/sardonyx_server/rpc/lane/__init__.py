"""Inference straight from the sockets: an HTTP/2 of our own, on one thread, with the grpcio server behind it.

gRPC's core takes some 20 us for a call of a few bytes, whatever is done with it; this takes 2 to 3. It deals with two
methods. All others, and headers that are malformed, go on to the grpcio server frame by frame.

Each room knows only those below it:

    lane.py        the lane as a transport: listen, start, drain, stop
    loop/          its thread: waiting, models, time
    connections/   one caller's connection: bytes -> frames -> whose they are
    proxy/         reverse proxy for all other methods, to the grpcio server
    sockets/       listening, reading, writing
    calls/         ModelInfer and ModelStreamInfer, and what their callers get
    messages/      headers, messages and answers <-> bytes
    flow_control/  flow control of HTTP/2, in both directions
    limits.py      what callers may do

A request, from the socket to the model and back:

    sockets/socket_transport.py   reads a socket
    connections/frame_reader.py   bytes of a caller -> frames
    connections/connection.py     which stream is whose
    messages/request.py           header block -> who asks, for what and how
    calls/call.py                 one ModelInfer
    messages/message.py           pieces of a message -> the message
    loop/burst.py                 what has come together goes to the models together
    calls/replies.py              what a caller gets
    messages/answers.py           answers and failures -> frames
    flow_control/outflow.py       what windows and the socket hold back
    flow_control/send_budget.py   how much of that there is in all, and may be
    sockets/socket_transport.py   writes a socket
"""

__all__: list[str] = []
