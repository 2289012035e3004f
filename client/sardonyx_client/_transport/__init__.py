"""Sends messages and receives responses: inference over HTTP/2 where possible, everything else over grpcio's channel.

sync_transport.py   for threads
async_transport.py  for an event loop
hedging.py          when a second attempt is worth its cost
"""

__all__: list[str] = []
