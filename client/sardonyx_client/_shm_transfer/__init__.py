"""Transfer of large tensors through shared memory, where the server is on the same host and supports it.

protocol.py     when to use it, and the steps of a call; no I/O
negotiation.py  whether the server supports it, and the regions registered with it; no I/O
same_host.py    whether an address is on this host
transfer.py     carries out the steps, for threads and for an event loop
"""

__all__: list[str] = []
