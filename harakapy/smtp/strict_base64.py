"""Base64 of which there is exactly one spelling (RFC 4648 3.5, 12)."""

from __future__ import annotations

import binascii

__all__ = ["decode_base64", "encode_base64"]


def decode_base64(text: bytes) -> bytes | None:
    """Decode; None if this is not the one spelling.

    No white space, no missing or superfluous padding, no bits behind the end: what passes here looks the same
    to every other reader.
    """
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        return None
    return data if binascii.b2a_base64(data, newline=False) == text else None


def encode_base64(data: bytes) -> str:
    """Encode, without line breaks."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")
