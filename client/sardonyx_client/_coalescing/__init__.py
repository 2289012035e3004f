"""Concurrent small calls joined into one request, and its answer cut apart again.

rules.py            what joins, and how; no I/O and no threads
turns.py            which threads wait, and which lead
coalescer.py        for calls of threads
async_coalescer.py  for calls of an event loop
patience.py         when the callers of an event loop give up waiting
"""

__all__: list[str] = []
