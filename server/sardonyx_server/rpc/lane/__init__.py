"""Inference straight from the sockets: an HTTP/2 of our own, on one thread, with the stock server behind it.

gRPC's core takes some 20 us for a call of a few bytes, whatever is done with it; this takes 2 to 3. It deals with two
methods. All others, and headers that are malformed, go on to the stock server frame by frame.

    doors.py         listening
    wire.py          reading and writing a socket
    frame_reader.py  bytes of a caller -> frames
    request.py       header block of a request -> what it asks for
    connection.py    one caller's connection: what it sends, and its streams
    call.py          one ModelInfer
    stream.py        one ModelStreamInfer
    message.py       pieces of a request -> its message
    compression.py   gzip and deflate
    replies.py       what a caller gets
    answers.py       answers and failures -> frames
    outflow.py       what windows hold back
    relay.py         the streams of a connection that go on to the stock server
    deadlines.py     what ends at a point in time
    lane.py          the thread
"""

__all__: list[str] = []
