"""The methods that the lane serves itself: ModelInfer and ModelStreamInfer. Each call is one HTTP/2 stream.

http2_stream.py      interface of an open stream to its connection
call.py              one ModelInfer
stream.py            one ModelStreamInfer
deframer.py          decodes the messages that arrive on a ModelStreamInfer
response_writer.py   writes responses, errors and trailers
host.py              interface of the event loop to calls
"""
