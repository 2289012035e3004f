"""Request coalescing: concurrent small calls are merged into one request, and its response is split again.

batching.py         which calls can be merged, merging and splitting; no I/O and no threads
leader_queue.py     which threads wait, and which of them send
coalescer.py        for threads
async_coalescer.py  for an event loop
deadline_timer.py   one timer for the deadlines of all calls of an event loop
"""

__all__: list[str] = []
