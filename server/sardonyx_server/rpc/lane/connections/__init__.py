"""One client's HTTP/2 connection (RFC 9113): decodes its frames and hands them to the streams that they belong to.

frame_reader.py     decodes the client's frames
bad_preface.py      clients that do not speak HTTP/2
connection.py       the connection: opens streams, and dispatches frames to them
control_frames.py   SETTINGS, PING, RST_STREAM, WINDOW_UPDATE and the rest
host.py             what connections need of the event loop
"""
