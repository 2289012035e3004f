"""One inference on its way: bytes out, bytes back, by the lane or a channel of grpc's.

sender.py        calls of threads
async_sender.py  calls of an event loop
hedging.py       when a second attempt is worth it
"""

__all__: list[str] = []
