"""Large tensors by shared memory, where the server is on this machine and takes it.

rules.py      when, and in which steps; no I/O
sharer.py     takes the steps, for threads and for an event loop
agreement.py  what the server agrees to share, and the regions it knows
nearness.py   is it on this machine?
"""

__all__: list[str] = []
