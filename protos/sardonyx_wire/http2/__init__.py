"""What client and server share of HTTP/2: bytes and numbers, no connection and no I/O.

huffman.py   RFC 7541's code for strings
hpack.py     header blocks <-> fields
frames.py    the frames of RFC 9113
numbers.py   what is compared with in each frame
broken.py    a peer broke the protocol
"""

__all__: list[str] = []
