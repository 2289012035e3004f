"""The parts of HTTP/2 that client and server share: frames, header blocks and error codes. No connection and no I/O.

huffman.py     the Huffman code for strings (RFC 7541)
hpack.py       header blocks <-> fields (RFC 7541)
frames.py      encoding of frames (RFC 9113)
constants.py   frame types and flags as plain integers, for the hot path
errors.py      Http2ConnectionError: the peer broke the protocol
"""

__all__: list[str] = []
