"""gRPC over HTTP/2, as bytes: decodes what a call sends and encodes what it gets. Knows no connection.

request_headers.py    decodes the headers of a request
message_assembly.py   assembles a message that arrives in several frames
receive_timeouts.py   ends calls whose message does not arrive
compression.py        gzip and deflate
response_frames.py    encodes responses and errors
"""
