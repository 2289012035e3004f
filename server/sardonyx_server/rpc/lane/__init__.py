"""ModelInfer straight from the sockets: an HTTP/2 of our own, on one thread, with the stock server behind it.

gRPC's core takes some 20 us for a call of a few bytes, whatever is done with it; this takes 2 to 3. What it does not
deal with itself, which is every other method and what is compressed, goes on to the stock server frame by frame.

    request.py      header block of a request -> what it asks for
    message.py      pieces of a request -> its message
    answers.py      answers and failures -> frames
    call.py         one ModelInfer
    outflow.py      what goes to one peer, as far as its windows allow
    frame_reader.py bytes of a caller -> frames
    connection.py   one caller's connection: its streams and windows
    relay.py        the streams of a connection that go on to the stock server
    doors.py        listening
    wire.py         reading and writing
    lane.py         the thread
"""

__all__: list[str] = []
