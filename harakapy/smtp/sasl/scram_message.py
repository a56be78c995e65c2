"""The messages of SCRAM (RFC 5802 7), parsed strictly; each parser gives None for what is not its message."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from harakapy.smtp.strict_base64 import decode_base64

__all__ = [
    "MAX_NONCE_LENGTH",
    "ClientFinal",
    "ClientFirst",
    "ServerFirst",
    "escape_name",
    "parse_client_final",
    "parse_client_first",
    "parse_server_final",
    "parse_server_first",
    "unescape_name",
]

MAX_NONCE_LENGTH: Final = 128
"""The longest nonce of one side. In use are 16 to 64 characters; the server's message, which holds both, must
fit into one line of a reply."""

_NONCE: Final = r"[!-+\--~]"  # printable, no comma
_BASE64: Final = r"[A-Za-z0-9+/=]+"
_EXTENSIONS: Final = r"(?:,[A-Za-z]=[^,\0]+)*"  # to be ignored if not understood
_CLIENT_FIRST: Final = re.compile(
    r"((?:[ny]|p=([A-Za-z0-9.-]{1,64})),(?:a=([^,\0]+))?,)"
    rf"((m=[^,\0]*,)?n=([^,\0]+),r=({_NONCE}{{1,{MAX_NONCE_LENGTH}}}){_EXTENSIONS})"
)
_CLIENT_FINAL: Final = re.compile(rf"(c=({_BASE64}),r=({_NONCE}+){_EXTENSIONS}),p=({_BASE64})")
_SERVER_FIRST: Final = re.compile(rf"r=({_NONCE}+),s=({_BASE64}),i=([1-9][0-9]{{0,9}}){_EXTENSIONS}")
_SERVER_FINAL: Final = re.compile(rf"v=({_BASE64}){_EXTENSIONS}")
_ESCAPE: Final = re.compile("=(2C|3D)?")


class ClientFirst(Struct, frozen=True):
    """``gs2_header`` is the part that channel binding repeats, ``bare`` the part that is signed.

    ``flag`` is "n" (no channel binding), "y" (could, but believes that the server cannot) or "p" with the
    type in ``binding_type``. Names are still escaped. An extension that must be understood is
    ``has_mandatory_extension``.
    """

    gs2_header: str
    flag: str
    binding_type: str
    authzid: str
    bare: str
    has_mandatory_extension: bool
    name: str
    nonce: str


class ClientFinal(Struct, frozen=True):
    """``binding`` is the header again, with the channel's data; ``without_proof`` the part that is signed."""

    without_proof: str
    binding: bytes
    nonce: str
    proof: bytes


class ServerFirst(Struct, frozen=True):
    """What the client needs to compute its proof; ``nonce`` is both sides' together."""

    nonce: str
    salt: bytes
    iterations: int


def _match(pattern: re.Pattern[str], message: bytes) -> re.Match[str] | None:
    try:
        return pattern.fullmatch(message.decode("utf-8"))
    except UnicodeDecodeError:
        return None


def parse_client_first(message: bytes) -> ClientFirst | None:
    """``n,,n=user,r=nonce`` and its kind."""
    found = _match(_CLIENT_FIRST, message)
    if found is None:
        return None
    gs2_header, binding_type, authzid, bare, mandatory, name, nonce = found.groups()
    return ClientFirst(
        gs2_header,
        gs2_header[0],
        binding_type or "",
        authzid or "",
        bare,
        mandatory is not None,
        name,
        nonce,
    )


def parse_client_final(message: bytes) -> ClientFinal | None:
    """``c=binding,r=nonce,p=proof``."""
    found = _match(_CLIENT_FINAL, message)
    if found is None:
        return None
    binding, proof = decode_base64(found[2].encode()), decode_base64(found[4].encode())
    if binding is None or proof is None:
        return None
    return ClientFinal(found[1], binding, found[3], proof)


def parse_server_first(message: bytes) -> ServerFirst | None:
    """``r=nonce,s=salt,i=iterations``."""
    found = _match(_SERVER_FIRST, message)
    salt = None if found is None else decode_base64(found[2].encode())
    if found is None or salt is None:
        return None
    return ServerFirst(found[1], salt, int(found[3]))


def parse_server_final(message: bytes) -> bytes | None:
    """The signature in ``v=signature``; an error of the server (``e=``) is none."""
    found = _match(_SERVER_FINAL, message)
    return None if found is None else decode_base64(found[1].encode())


def escape_name(name: str) -> str:
    """A name as it stands in a message: comma and equals sign would end it."""
    return name.replace("=", "=3D").replace(",", "=2C")


def unescape_name(escaped: str) -> str | None:
    """The name; None if an equals sign begins nothing."""
    if any(found[1] is None for found in _ESCAPE.finditer(escaped)):
        return None
    return escaped.replace("=2C", ",").replace("=3D", "=")
