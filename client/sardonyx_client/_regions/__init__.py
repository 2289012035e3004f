"""Memory of this process that a server on the same machine can open. Speaks to no server.

shared_region.py  one region of it
region_pool.py    regions in use, and those to use again
room.py           those of one call
"""

__all__: list[str] = []
