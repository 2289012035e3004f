"""One caller's connection, as HTTP/2 has it (RFC 9113): what comes, and which stream it is for.

frame_reader.py   bytes of a caller -> frames
stranger.py       it speaks no HTTP/2
connection.py     which stream is whose
control.py        settings, pings, resets, windows
host.py           what it wants of the lane
"""
