"""SASL messages as SMTP carries them: base64 on a line (RFC 4954 4)."""

from __future__ import annotations

from typing import Final

from harakapy.smtp.sasl.exchange import Failed, Failure
from harakapy.smtp.strict_base64 import decode_base64, encode_base64

__all__ = [
    "MAX_RESPONSE_OCTETS",
    "decode_initial_response",
    "decode_response",
    "encode_message",
]

MAX_RESPONSE_OCTETS: Final = 12288
"""Octets of a response in base64, without CRLF: what RFC 4954 4 asks a server to take. Tokens come near."""

_CANCEL: Final = b"*"
_EMPTY: Final = b"="  # the empty initial response; none at all is something else


def decode_response(line: bytes) -> bytes | Failed:
    """Decode the client's answer to a challenge, a line without its CRLF."""
    if line == _CANCEL:
        return Failed(Failure.CANCELLED, "the client cancelled the exchange")
    if len(line) > MAX_RESPONSE_OCTETS:
        return Failed(Failure.TOO_LONG, f"response longer than {MAX_RESPONSE_OCTETS} octets")
    data = decode_base64(line)
    return Failed(Failure.MALFORMED, "the response is not base64") if data is None else data


def decode_initial_response(argument: bytes | None) -> bytes | Failed | None:
    """Decode what stood behind the mechanism in the AUTH command; None if nothing did."""
    if argument is None or argument == _EMPTY:
        return None if argument is None else b""
    if not argument:
        return Failed(Failure.MALFORMED, "an empty initial response is spelled =")
    return decode_response(argument)


def encode_message(data: bytes) -> str:
    """The text of a 334 reply for a challenge; also a client's response."""
    return encode_base64(data)
