"""The methods that the lane serves itself: ModelInfer and ModelStreamInfer. Each call is one stream of HTTP/2.

http2_stream.py      any open stream, as its connection sees it
call.py              one ModelInfer
stream.py            one ModelStreamInfer
deframer.py          the messages that arrive on it
response_writer.py   writes responses, errors and trailers
host.py              what calls need of the event loop
"""
