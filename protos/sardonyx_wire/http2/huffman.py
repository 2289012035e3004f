"""The Huffman code for header strings (RFC 7541, appendix B). Decoding only: we send strings uncoded."""

from __future__ import annotations

from typing import Final

__all__ = ["HuffmanError", "decode_huffman"]

# Code length in bits -> the bytes whose codes have that length, in order. The code is canonical: codes of one length
# are consecutive, and those of the next length continue from them. So this table is all of appendix B except the EOS
# symbol, which is 30 ones and must not be sent.
_BYTES: Final[dict[int, bytes]] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5c c3 d0"),
    20: bytes.fromhex("80 82 83 a2 b8 c2 e0 e2"),
    21: bytes.fromhex("99 a1 a7 ac b0 b1 b3 d1 d8 d9 e3 e5 e6"),
    22: bytes.fromhex("81 84 85 86 88 92 9a 9c a0 a3 a4 a9 aa ad b2 b5 b9 ba bb bd be c4 c6 e4 e8 e9"),
    23: bytes.fromhex("01 87 89 8a 8b 8c 8d 8f 93 95 96 97 98 9b 9d 9e a5 a6 a8 ae af b4 b6 b7 bc bf c5 e7 ef"),
    24: bytes.fromhex("09 8e 90 91 94 9f ab ce d7 e1 ec ed"),
    25: bytes.fromhex("c7 cf ea eb"),
    26: bytes.fromhex("c0 c1 c8 c9 ca cd d2 d5 da db ee f0 f2 f3 ff"),
    27: bytes.fromhex("cb cc d3 d4 d6 dd de df f1 f4 f5 f6 f7 f8 fa fb fc fd fe"),
    28: bytes.fromhex("02 03 04 05 06 07 08 0b 0c 0e 0f 10 11 12 13 14 15 17 18 19 1a 1b 1c 1d 1e 1f 7f dc f9"),
    30: bytes.fromhex("0a 0d 16"),
}
_LONGEST_BITS: Final = 30
# A string is padded to a whole byte with ones, the first bits of EOS (RFC 7541, section 5.2).
_PADDING_BITS: Final = 7


class HuffmanError(ValueError):
    """The bytes are not a valid Huffman-coded string."""


def _codes() -> dict[int, int]:
    """Code, with a one bit in front so that leading zeros count -> byte."""
    codes: dict[int, int] = {}
    code = previous = 0
    for bits, encoded in _BYTES.items():
        code <<= bits - previous
        previous = bits
        for byte in encoded:
            codes[1 << bits | code] = byte
            code += 1
    return codes


_CODES: Final = _codes()


def decode_huffman(data: bytes) -> bytes:
    """Decode a string.

    Raises:
        HuffmanError: An unknown code, or padding that is too long or not all ones.
    """
    decoded = bytearray()
    code = 1
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            found = _CODES.get(code)
            if found is not None:
                decoded.append(found)
                code = 1
            elif code >> _LONGEST_BITS:
                raise HuffmanError("a string of a header is not in HPACK's Huffman code")
    bits = code.bit_length() - 1
    if bits > _PADDING_BITS or code != (2 << bits) - 1:
        raise HuffmanError("a string of a header ends within a code")
    return bytes(decoded)
