"""The sockets of the lane: callers come in, bytes are read and written. What they mean is their owner's matter.

doors.py      listening
wires.py      all that are connected: whose each is, who has something to say
wire.py       one of them
owner.py      what a wire asks of whose it is
loopback.py   whose other end may be on this machine
"""
