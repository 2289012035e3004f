"""The client's shared-memory pool: POSIX shared memory that a server on the same host can map. No communication.

shared_region.py  one region
region_pool.py    regions in use, and free ones for reuse
call_regions.py   the regions of one call
"""

__all__: list[str] = []
