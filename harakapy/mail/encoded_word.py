"""Encoded words: text outside ASCII in a header that is ASCII (RFC 2047).

Reading never fails, whatever a stranger wrote: a word with an unknown charset or a broken encoding stays as
it stands, and what comes out has no control characters, so that ``=?utf-8?q?a=0d=0aBcc:x?=`` cannot become a
header field of its own on the way through a plugin.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from harakapy.mail.safe_text import neutralise

__all__ = ["decode_words", "encode_whole", "encode_words"]

_WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]+)(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([^?\s]*)\?=")

_MAX_PAYLOAD: Final = 75 - len("=?utf-8?q??=")  # RFC 2047 2: an encoded word has at most 75 characters

# Charset names are looked up here and never in the codec registry: for a name it does not know, that tries an
# import and remembers the failure for ever, so strangers could make it grow. It also has codecs that are no
# charsets (zlib, idna, rot13), some of them slow on input made for the purpose.
_NO_CHARSETS: Final = frozenset(
    ["base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"]
)
_CHARSETS: Final = {
    **{codec: codec for codec in aliases.values() if codec not in _NO_CHARSETS},
    **{name: codec for name, codec in aliases.items() if codec not in _NO_CHARSETS},
    # In mail, but without an entry there.
    "koi8_u": "koi8_u",
    "windows_874": "cp874",
    "iso_8859_8_i": "iso8859_8",
    # What senders label so is really the superset (as all browsers assume).
    "gb2312": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
}

_PLAIN: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # RFC 2047 5 (3)
_Q_OCTET: Final = tuple(
    chr(octet) if octet in _PLAIN else "_" if octet == 0x20 else f"={octet:02X}" for octet in range(256)
)


def decode_words(text: str) -> str:
    """The text that encoded words stand for, control characters written out (RFC 2047 6).

    White space between neighbouring encoded words is dropped. The octets of neighbours with the same charset
    are joined before they are decoded, because many senders split a character in two.
    """
    if "=?" not in text:
        return neutralise(text)
    return neutralise("".join(_decoded_runs(text)))


def _decoded_runs(text: str) -> Iterator[str]:
    end = 0
    charset = ""
    run: list[bytes] = []  # the payloads of neighbours
    for word in _WORD.finditer(text):
        codec = _CHARSETS.get(normalize_encoding(word[1]).lower(), "")
        payload = _payload(word) if codec else None
        if payload is None:
            continue  # stays in the text: it is part of what stands before the next word
        between = text[end : word.start()]
        is_neighbour = bool(run) and not between.strip(" \t")
        if not is_neighbour or codec != charset:
            yield _decoded(run, charset)
            run = []
        if not is_neighbour:
            yield between
        run.append(payload)
        charset, end = codec, word.end()
    yield _decoded(run, charset)
    yield text[end:]


def _payload(word: re.Match[str]) -> bytes | None:
    """The octets in an encoded word; None if it is no base64."""
    if word[2] in "Qq":
        return binascii.a2b_qp(word[3].encode("ascii", "backslashreplace"), header=True)
    try:
        stripped = word[3].rstrip("=")
        return binascii.a2b_base64(stripped + "=" * (-len(stripped) % 4))
    except ValueError:
        return None


def _decoded(run: list[bytes], charset: str) -> str:
    return b"".join(run).decode(charset, "replace") if run else ""


def encode_words(text: str) -> str:
    """ASCII text that stands for ``text``: words outside ASCII become encoded words, the others stay.

    Words that already are encoded stay too, so a value taken from a header can be given back with a change.
    White space inside a run of encoded words is encoded with it; between them stands the space that a reader
    drops again, where a field may be folded.
    """
    pieces = re.split(r"([ \t]+)", text)
    done: list[str] = []
    run: list[str] = []  # words to encode with the white space between them: odd length
    for word, space in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        if word.isascii():
            done += _closed(run), word, space
            run = []
        else:
            run += word, space
    done.append(_closed(run))
    return "".join(done)


def _closed(run: list[str]) -> str:
    """Encode a run and put the white space behind it back."""
    if not run:
        return ""
    return encode_whole("".join(run[:-1])) + run[-1]


def encode_whole(text: str) -> str:
    """All of ``text``, white space and ASCII included, as encoded words with single spaces between them."""
    octets = text.encode()
    in_q = sum(map(len, map(_Q_OCTET.__getitem__, octets)))
    in_b = 4 * ((len(octets) + 2) // 3)
    return " ".join(_q_words(text) if in_q <= in_b else _b_words(text))


def _q_words(text: str) -> Iterator[str]:
    payload = ""
    for character in text:
        encoded = "".join(map(_Q_OCTET.__getitem__, character.encode()))
        if len(payload) + len(encoded) > _MAX_PAYLOAD:
            yield f"=?utf-8?q?{payload}?="
            payload = ""
        payload += encoded
    yield f"=?utf-8?q?{payload}?="


def _b_words(text: str) -> Iterator[str]:
    payload = b""
    for character in text:
        encoded = character.encode()
        if len(payload) + len(encoded) > _MAX_PAYLOAD // 4 * 3:
            yield _b_word(payload)
            payload = b""
        payload += encoded
    yield _b_word(payload)


def _b_word(payload: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(payload, newline=False).decode()}?="
