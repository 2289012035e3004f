"""Calls on their way: bytes out, bytes back. Inference goes by the lane where it can, all else by a channel of grpc's.

sender.py        calls of threads
async_sender.py  calls of an event loop
hedging.py       when a second attempt is worth it
"""

__all__: list[str] = []
