"""Client shared memory: inputs are read from it when a batch is gathered, and outputs are written to it.

Opens no memory: that is runtime/posix_memory.py and runtime/cuda_memory.py.

    region.py          one region: bounds, reads, writes
    regions.py         registry of regions, by the name that a client gave
"""
