"""gRPC over HTTP/2, as bytes: what a call says and hears. Knows no connection.

request.py       header block -> who asks, for what and how
message.py       pieces of a message -> the message
stalled.py       messages that do not come
compression.py   gzip and deflate
answers.py       answers and failures -> frames
"""
