"""Who sends a program's message, who gets it, and which fields it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from harakapy.cli.send.options import SendOptions
from harakapy.mail import Header
from harakapy.mail.encoded_word import encode_whole
from harakapy.mail.mailbox import Mailbox, parse_mailboxes
from harakapy.process.intake import own_address
from harakapy.smtp import Address
from harakapy.smtp.address import NULL_PATH

__all__ = ["BadAddress", "Caller", "complete", "recipients_of", "sender_of"]

_RESENT: Final = ("Resent-To", "Resent-Cc", "Resent-Bcc")
_ADDRESSED: Final = ("To", "Cc", "Bcc")

_BARE_NAME = re.compile(r"(?:[^<>]*<)?\s*([^<>()@,;:\"\[\]\\\s]+)\s*>?")
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_NOT_IN_PHRASE = re.compile(r"[\x00-\x1f\x7f]")


class BadAddress(Exception):
    """An address cannot be read; the text says which."""


class Caller(Struct, frozen=True):
    """The user who sends, on this host."""

    uid: int
    full_name: str
    hostname: str

    @property
    def address(self) -> Address:
        """The caller's own address."""
        return own_address(self.uid, self.hostname)

    def qualify(self, name: str) -> Address:
        """The address of somebody on this host. Raises ValueError if the name cannot be one."""
        return Address(name, self.hostname)


def sender_of(options: SendOptions, caller: Caller) -> Address:
    """The reverse-path: what ``-f`` says, else the caller. Raises BadAddress."""
    if options.sender is None:
        return caller.address
    if options.sender.strip() in ("", "<>"):
        return NULL_PATH
    found = [*_addresses([options.sender], caller)]
    if len(found) != 1:
        raise BadAddress(f"this is not one address: {options.sender}")
    return found[0]


def recipients_of(options: SendOptions, header: Header, caller: Caller) -> tuple[Address, ...]:
    """Who gets the message, each once: those on the command line, and with ``-t`` those in the header.

    A message that is sent on has Resent fields, which then count instead (RFC 5322 3.6.6). Raises
    BadAddress.
    """
    texts = [*options.recipients]
    if options.are_recipients_in_header:
        names = _RESENT if any(name in header for name in _RESENT) else _ADDRESSED
        texts += [value for name in names for value in header.get_all(name)]
    return tuple(dict.fromkeys(_addresses(texts, caller)))


def _addresses(texts: Iterable[str], caller: Caller) -> Iterator[Address]:
    for text in texts:
        for mailbox in parse_mailboxes(text):
            yield mailbox.address or _local(mailbox, caller)


def _local(mailbox: Mailbox, caller: Caller) -> Address:
    """The address of an entry without a domain: somebody on this host."""
    found = _BARE_NAME.fullmatch(mailbox.text)
    try:
        if found is not None:
            return caller.qualify(found[1])
    except ValueError:
        pass
    raise BadAddress(f"this address cannot be read: {mailbox.text}")


def complete(header: Header, options: SendOptions, sender: Address, caller: Caller) -> None:
    """Take out what nobody is to see, and say who writes; what else a message has is added by the server."""
    header.remove("Bcc")
    header.remove("Resent-Bcc")
    if "From" not in header:
        name = caller.full_name if options.full_name is None else options.full_name
        header.add("From", _from_field(name, sender, caller), utf8=sender.is_utf8)


def _from_field(name: str, sender: Address, caller: Caller) -> str:
    address = sender if not sender.is_null else caller.qualify("MAILER-DAEMON")
    name = _NOT_IN_PHRASE.sub(" ", name).strip()
    if not name:
        return address.address
    if not name.isascii():
        return f"{encode_whole(name)} {address.path}"
    if not _PLAIN_PHRASE.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} {address.path}"
