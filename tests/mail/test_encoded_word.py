"""Encoded words: what senders write, what attackers write, and ours."""

from __future__ import annotations

import encodings
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail.encoded_word import decode_words, encode_whole, encode_words

TEXT_CHARACTERS = st.characters(exclude_categories=("C", "Zl", "Zp"))


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        # RFC 2047 8
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?= \t =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        ("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),  # RFC 2231 5
        # as senders write it
        ("=?utf-8?B?SsO2cmc=?= <j@example.com>", "Jörg <j@example.com>"),
        ("=?utf-8?b?SsO2cmc?=", "Jörg"),
        ("=?utf-8?q?J=C3?= =?UTF-8?q?=B6rg?=", "Jörg"),
        ("=?utf8?q?J=C3=B6rg?=", "Jörg"),
        ("=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "ää"),
        ("x=?utf-8?q?y?=z", "xyz"),
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?koi8-u?Q?=F4?=", "Т"),  # noqa: RUF001 - a Cyrillic letter
        # what means nothing stays
        ("=?x-unknown?q?a?= b", "=?x-unknown?q?a?= b"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
        ("a =? b", "a =? b"),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        ("=?utf-8?q??= a", " a"),
    ],
)
def test_decoding(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


def test_line_ends_in_encoded_words_are_written_out() -> None:
    assert decode_words("=?utf-8?q?a=0d=0aBcc:x?=") == r"a\x0d\x0aBcc:x"
    assert decode_words("=?utf-8?b?Gw==?=[31m") == r"\x1b[31m"
    assert decode_words("=?utf-16-le?b?KCAA2A==?=") == "\\u2028\ufffd"
    assert decode_words("=?utf-7?q?+2AA-?=").isprintable()


@pytest.mark.parametrize(
    "codec", ["zlib", "hex", "rot13", "base64", "idna", "punycode", "unicode_escape", "undefined", "uu"]
)
def test_codecs_that_are_no_charsets_are_not_used(codec: str) -> None:
    word = f"=?{codec}?q?abc?="
    assert decode_words(word) == word


def test_unknown_charsets_leave_nothing_behind() -> None:
    known: dict[str, object] = vars(encodings)["_cache"]
    before = len(known)
    for number in range(100):
        decode_words(f"=?x-made-up-{number}?q?a?=")
    assert len(known) == before


@given(
    st.text(),
    st.sampled_from(sorted(aliases)),
    st.binary(),
)
def test_decoding_never_fails(text: str, charset: str, payload: bytes) -> None:
    payload_q = "".join(f"={octet:02X}" for octet in payload)
    decoded = decode_words(f"{text} =?{charset}?q?{payload_q}?= =?{charset}?b?{text}?=")
    assert "\r" not in decoded
    assert "\n" not in decoded
    decoded.encode()


@given(st.text(TEXT_CHARACTERS).filter(lambda text: "=?" not in text))
def test_what_is_encoded_is_decoded_to_the_same(text: str) -> None:
    assert decode_words(encode_words(text)) == text
    assert decode_words(encode_whole(text)) == text


@given(st.text(TEXT_CHARACTERS, min_size=1))
def test_an_encoded_word_has_at_most_75_characters(text: str) -> None:
    words = encode_whole(text).split(" ")
    assert all(len(word) <= 75 for word in words)
    assert all(word.isascii() for word in words)
