"""gRPC over HTTP/2, as bytes: decodes requests and encodes responses. Knows no connection.

request_headers.py    decodes the headers of a request
message_assembly.py   assembles a message that arrives in several frames
receive_timeouts.py   finds calls whose message does not arrive
compression.py        gzip and deflate
response_frames.py    encodes responses and errors
"""
