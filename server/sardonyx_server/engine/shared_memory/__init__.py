"""Memory that clients share with the server: inputs are read there when a batch is gathered, outputs written.

Opens none: that is runtime/posix_memory.py and runtime/cuda_memory.py.

    region.py          one region: its bounds, what is read and written there
    regions.py         all of them, by the name that a client gave
"""
