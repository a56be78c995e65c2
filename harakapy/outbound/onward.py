"""What an envelope may ask of the next host: which parameters are passed on, in which form addresses go.

Each extension has its own rule for relays, here with its RFC. What a host does not offer is left out where
the message can go without, and is an obstacle where it cannot.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from harakapy.mail import Content, EnhancedStatus, Envelope, Recipient, to_ascii
from harakapy.mail.status import ADDRESS_NOT_ASCII, EXPIRED, MESSAGE_TOO_LARGE, REQUIRETLS_FAILED
from harakapy.smtp import (
    NO_RCPT_PARAMETERS,
    NULL_PATH,
    Address,
    Body,
    DeliverBy,
    Mail,
    MailParameters,
    Rcpt,
)
from harakapy.smtp.capabilities import Capabilities

__all__ = ["Link", "Obstacle", "mail_command", "needs_utf8", "obstacle", "rcpt_command"]

_END_OF_HEADER = b"\r\n\r\n"


class Link(Struct, frozen=True):
    """What is known of a session: ``is_verified``, that TLS is with whom we meant; ``is_logged_in``."""

    capabilities: Capabilities
    is_verified: bool = False
    is_logged_in: bool = False


class Obstacle(Struct, frozen=True):
    """Why a message, or a recipient, cannot go to a host at all; nothing was sent."""

    text: str
    status: EnhancedStatus


NO_REQUIRETLS = Obstacle(
    "the message may only go over verified TLS to hosts that honour REQUIRETLS", REQUIRETLS_FAILED
)
NO_SMTPUTF8 = Obstacle("the message needs SMTPUTF8, which the host does not offer", ADDRESS_NOT_ASCII)
NO_SUCH_DOMAIN = Obstacle("the domain has no ASCII form", ADDRESS_NOT_ASCII)
NOT_IN_TIME = Obstacle("the host does not promise delivery within the time given", EXPIRED.with_category(5))


def obstacle(envelope: Envelope, link: Link, *, size: int) -> Obstacle | None:
    """What keeps the whole message from this host, whatever its content; ``size`` in octets."""
    offered = link.capabilities
    if envelope.is_tls_required and not (link.is_verified and offered.requiretls):  # RFC 8689 4.2.1
        return NO_REQUIRETLS
    if offered.size is not None and size > offered.size:  # RFC 1870 6.1
        text = f"the message has {size} octets, the host takes {offered.size}"
        return Obstacle(text, MESSAGE_TOO_LARGE)
    by = envelope.params.by
    if by is not None and by.mode == "R" and not _is_kept(by, offered):  # RFC 2852 4.2
        return NOT_IN_TIME
    return None


def needs_utf8(envelope: Envelope, content: Content) -> bool:
    """Whether sender or header can only go with SMTPUTF8 (RFC 6531 3.2); recipients are asked one by one.

    Octets above 127 in the header of a message that did not come with SMTPUTF8 are not UTF-8 for sure, and
    travel as they always have.
    """
    if not envelope.mail_from.user.isascii():
        return True
    return envelope.is_smtputf8 and not _header_is_ascii(content)


def mail_command(
    envelope: Envelope, link: Link, *, size: int, body: Body | None, has_utf8: bool
) -> Mail | Obstacle:
    """The command that begins the transaction; ``has_utf8``: with SMTPUTF8."""
    sender = _sendable(envelope.mail_from, has_utf8=has_utf8)
    if sender is None:
        return NO_SUCH_DOMAIN
    given, offered = envelope.params, link.capabilities
    parameters = MailParameters(
        size=size if "SIZE" in offered.raw else None,
        body=body,
        smtputf8=has_utf8,
        ret=given.ret if offered.dsn else None,  # RFC 3461 5.2.1
        envid=given.envid if offered.dsn else None,
        # Whom we logged in as is us. Whether the sender is who it says we have not checked, and must then
        # say so (RFC 4954 5); to others AUTH means nothing.
        auth=NULL_PATH if given.auth is not None and link.is_logged_in else None,
        requiretls=given.requiretls,
        by=given.by if given.by is not None and _is_kept(given.by, offered) else None,
        mt_priority=given.mt_priority if offered.mt_priority else None,
        # HOLDFOR and HOLDUNTIL are honoured by us (RFC 4865 4).
    )
    return Mail(sender, parameters)


def rcpt_command(recipient: Recipient, link: Link, *, has_utf8: bool) -> Rcpt | Obstacle:
    """The command that names one recipient."""
    address = _sendable(recipient.address, has_utf8=has_utf8)
    if address is None:
        return NO_SMTPUTF8 if not recipient.address.user.isascii() else NO_SUCH_DOMAIN
    params = recipient.params
    if params is NO_RCPT_PARAMETERS or not link.capabilities.dsn:
        return Rcpt(address)
    return Rcpt(address, replace(params, extra=()) if params.extra else params)


def _sendable(address: Address, *, has_utf8: bool) -> Address | None:
    """The address as it can be sent: without SMTPUTF8 its domain as A-labels. None if it cannot."""
    if has_utf8 or not address.is_utf8:
        return address
    if not address.user.isascii():
        return None
    try:
        return Address(address.user, to_ascii(address.host))
    except ValueError:
        return None


def _is_kept(by: DeliverBy, offered: Capabilities) -> bool:
    """Whether a time limit may be passed on: not one shorter than the host can keep (RFC 2852 2)."""
    return offered.deliver_by is not None and (by.mode == "N" or by.seconds >= offered.deliver_by)


def _header_is_ascii(content: Content) -> bool:
    last = b""
    for block in content.blocks():
        end = (last + block).find(_END_OF_HEADER)
        if end >= 0:
            return (last + block)[:end].isascii()
        if not block.isascii():
            return False
        last = block[-3:]
    return True
