"""Mailboxes in a header field: ``Jane <jane@example.com>, Team: a@example.com;`` (RFC 5322 3.4).

What a stranger wrote into From is not always a list of mailboxes, and what looks at it (anti-spoofing, DMARC)
must neither fail nor be fooled. So reading never raises and hides nothing: a piece that is no mailbox is in
the result too, without an address. Time is linear in the length of the value, and comments nest without
recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct, field

from harakapy.mail.encoded_word import decode_words
from harakapy.smtp.address import Address

__all__ = ["Mailbox", "parse_mailboxes"]

# Every alternative takes at least one character and none goes back, so that scanning is linear. A quoted
# string that is never closed reaches to the end of the value. Commas and colons in an encoded word are not
# allowed (RFC 2047 5 (3)), yet sent; what could be an address in one is not taken for text.
_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
    |(?P<quoted>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)(?:"|\\?\Z))
    |(?P<comment>\()
    |(?P<literal>\[[^\[\]]*+\]?)
    |(?P<special>[<>@,:;.])
    |(?P<encoded>=\?[^?\s]*+\?[BbQq]\?[^?\s<>@"]*+\?=)
    |(?P<atom>[^ \t"()\[\]<>@,:;.]+|[)\]])""",
    re.VERBOSE | re.DOTALL,
)
_IN_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


class _Token(NamedTuple):
    kind: str
    text: str


class Mailbox(Struct, frozen=True):
    """One entry of an address field.

    ``name`` is the display name, decoded, or empty; ``address`` is None if the entry cannot be read; ``text``
    is the entry as it was written.
    """

    name: str
    address: Address | None
    text: str


class _Entry(Struct):
    """The tokens of one entry while it is collected."""

    tokens: list[_Token] = field(default_factory=list)
    is_in_angle: bool = False

    def is_phrase(self) -> bool:
        """Whether this can be the name of a group: words alone."""
        return all(token.kind != "special" or token.text == "." for token in self.tokens)

    def is_empty(self) -> bool:
        """Whether nothing but space and comments was found."""
        return all(token.kind in ("space", "comment") for token in self.tokens)


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The entries of an address list in their order; those of groups are taken out of them.

    ``text`` is the unfolded value of a field such as From. Semicolons separate like commas, as some senders
    write them.
    """
    return tuple(_mailbox(entry.tokens) for entry in _entries(text) if not entry.is_empty())


def _entries(text: str) -> Iterator[_Entry]:
    entry = _Entry()
    for token in _tokens(text):
        mark = token.text if token.kind == "special" else ""
        if mark and mark in ",;" and not entry.is_in_angle:
            yield entry
            entry = _Entry()
        elif mark == ":" and not entry.is_in_angle:
            if not entry.is_phrase():
                yield entry  # not the name of a group, so it must be seen
            entry = _Entry()
        else:
            entry.tokens.append(token)
            if mark and mark in "<>":
                entry.is_in_angle = mark == "<"
    yield entry


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while found := _TOKEN.match(text, position):
        kind, position = found.lastgroup or "", found.end()
        if kind == "comment":
            position = _comment_end(text, position)
        yield _Token(kind, text[found.start() : position])


def _comment_end(text: str, position: int) -> int:
    depth = 1
    for found in _IN_COMMENT.finditer(text, position):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    return len(text)


def _mailbox(tokens: list[_Token]) -> Mailbox:
    text = "".join(token.text for token in tokens).strip(" \t")
    opened = _index(tokens, "<")
    if opened < 0:
        comments = [token.text[1:].removesuffix(")") for token in tokens if token.kind == "comment"]
        return Mailbox(decode_words(comments[-1] if comments else ""), _address(tokens), text)
    closed = _index(tokens, ">")
    address = None
    if closed > opened and _Entry(tokens[closed + 1 :]).is_empty():
        address = _address(_without_route(tokens[opened + 1 : closed]))
    return Mailbox(_phrase(tokens[:opened]), address, text)


def _index(tokens: list[_Token], mark: str) -> int:
    return next((i for i, token in enumerate(tokens) if token.kind == "special" and token.text == mark), -1)


def _without_route(tokens: list[_Token]) -> list[_Token]:
    """An address without the hosts of its source route (RFC 5322 4.4)."""
    if tokens and tokens[0] == _Token("special", "@"):
        return tokens[_index(tokens, ":") + 1 :]
    return tokens


def _address(tokens: list[_Token]) -> Address | None:
    """The address that the tokens are; comments, and space around dots and the ``@``, do not count."""
    words: list[str] = []
    gap = False
    for token in tokens:
        if token.kind in ("space", "comment"):
            gap = True
            continue
        if gap and words and token.text not in (".", "@") and words[-1] not in (".", "@"):
            return None  # two words side by side
        words.append(token.text)
        gap = False
    try:
        address = Address.parse("".join(words))
    except ValueError:
        return None
    return address if address.host else None


def _phrase(tokens: list[_Token]) -> str:
    """A display name: words without their quotes, white space collapsed, encoded words decoded."""
    words = [_unquoted(token) for token in tokens if token.kind != "comment"]
    return decode_words(" ".join("".join(words).split()))


def _unquoted(token: _Token) -> str:
    if token.kind != "quoted":
        return token.text
    return _QUOTED_PAIR.sub(r"\1", token.text[1:].removesuffix('"'))
