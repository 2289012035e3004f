"""Inference straight from the sockets: an HTTP/2 of our own, on one thread, with the stock server behind it.

gRPC's core takes some 20 us for a call of a few bytes, whatever is done with it; this takes 2 to 3. It deals with two
methods. All others, and headers that are malformed, go on to the stock server frame by frame.

A request, from the socket to the model and back:

    wire.py          reads a socket
    frame_reader.py  bytes of a caller -> frames
    connection.py    one caller's connection: which stream is whose
    request.py       header block -> who asks, for what and how
    call.py          one ModelInfer
    message.py       pieces of a message -> the message
    burst.py         what has come together goes to the models together
    replies.py       what a caller gets
    answers.py       answers and failures -> frames
    outflow.py       what windows and the socket hold back
    held.py          how much of that there is in all, and may be
    wire.py          writes a socket
    loopback.py      whose other end may be on this machine

Who moves it:

    lane.py          the lane as a transport: listen, start, drain, stop
    loop.py          its thread: sockets, tasks, models, writing
    events.py        waiting for sockets and for tasks of other threads
    doors.py         listening
    limits.py        what callers may do
    deadlines.py     what ends at a point in time
    stalled.py       what does not come
    wires.py         all sockets: whose each is, who has something to say
    owner.py         what a wire asks of whose it is
    open_calls.py    how many calls are open, and who waits until none is
    host.py          what connections and calls want of all that

What else a connection may be sent:

    stream.py        one ModelStreamInfer
    incoming.py      what comes on it -> messages
    compression.py   gzip and deflate
    inflow.py        how much it may send
    control.py       settings, pings, resets, windows
    stranger.py      it speaks no HTTP/2

All other methods:

    relays.py        the caller's side of them
    relayed.py       one stream that is relayed
    relay.py         a connection to the stock server
    stock_reader.py  bytes of that -> frames
    back_door.py     where that listens
    stopped.py       what is heard of it while it stops
"""

__all__: list[str] = []
