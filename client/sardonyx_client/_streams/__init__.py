"""Streams of inference requests and their results.

stream.py        for threads
async_stream.py  for an event loop
codec.py         decodes their messages; no I/O
"""

__all__: list[str] = []
