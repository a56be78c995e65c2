"""Whether a user could log in at another server: its credentials are tried there, and no mail is sent.

A wrong password must cost one failed login there, not several: whoever fails often is locked out, and here
that would be this server with all its users. So one mechanism is tried, and where nobody can read along it is
the one that every user has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempt import HostFailed, Phase
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hop import Target
from harakapy.outbound.login import hold_exchange
from harakapy.outbound.login_answer import LoginAnswer, LoginCheck
from harakapy.outbound.opening import open_wire
from harakapy.outbound.terms import Terms, Timeouts
from harakapy.outbound.wire import Wire
from harakapy.smtp import Reply
from harakapy.smtp.sasl import ClientMechanism, CramMd5Client, LoginClient, PlainClient, ScramClient

__all__ = ["check_login"]

TIMEOUTS: Final = Timeouts(connect_s=5.0, tls_s=10.0, greeting_s=10.0, command_s=10.0)
"""A person waits for this. Picked: a host that is there answers within a second, but lets wait who fails."""

_NO_MECHANISM: Final = EnhancedStatus(4, 7, 0)
_ABOUT_US: Final = frozenset({500, 501, 502, 503, 504, 530, 534, 538})
"""Refusals of how we ask, such as that the mechanism is too weak (RFC 4954 6); no password was looked at."""

_Start = Callable[[str, str], ClientMechanism]
_READABLE: Final[Mapping[str, _Start]] = {"PLAIN": PlainClient, "LOGIN": LoginClient}
_PROOFS: Final[Mapping[str, _Start]] = {"SCRAM-SHA-256": ScramClient, "CRAM-MD5": CramMd5Client}


async def check_login(
    targets: Sequence[Target],
    user: str,
    password: str,
    *,
    terms: Callable[[Target], Terms],
    facilities: Facilities,
) -> LoginCheck:
    """Try credentials at one target after the other, until one accepts or refuses them.

    The targets' own users do not count. Each target takes a minute at worst; the caller sets a deadline. If
    cancelled here, nothing is left open. Raises nothing of what hosts do.
    """
    problems = []
    for target in targets:
        its = replace(terms(target), timeouts=TIMEOUTS)
        try:
            reply = await _try_at(target, user, password, its, facilities)
        except HostFailed as failed:
            problems.append(f"{target}: {failed.answer.text or failed.answer.reply}")
            continue
        text = f"{target}: {reply}"
        if reply is None:
            return LoginCheck(LoginAnswer.REFUSED, f"{target}: no mechanism can carry this password")
        if reply.is_positive:
            return LoginCheck(LoginAnswer.ACCEPTED, text)
        if reply.is_permanent and reply.code not in _ABOUT_US:
            return LoginCheck(LoginAnswer.REFUSED, text)
        problems.append(text)
    return LoginCheck(LoginAnswer.UNKNOWN, "; ".join(problems) or "nowhere to ask")


async def _try_at(
    target: Target, user: str, password: str, terms: Terms, facilities: Facilities
) -> Reply | None:
    """What a target says to credentials; None if they cannot be sent. Raises HostFailed."""
    # Without a user the session is opened as far as where one would log in.
    anonymous = replace(target.hop, user="", password="", token_command=(), token_file=None)
    wire = await open_wire(replace(target, hop=anonymous), terms, facilities)
    try:
        mechanism = _mechanism(wire, target, user, password)
        if mechanism is None:
            return None
        return await wire.before_deadline(facilities.watchdog, partial(hold_exchange, wire, mechanism))
    finally:
        wire.stream.try_send(b"QUIT\r\n")  # nobody waits for the answer
        wire.close()


def _mechanism(wire: Wire, target: Target, user: str, password: str) -> ClientMechanism | None:
    """The one to use; None if it can carry no such name or password. Raises HostFailed if there is none."""
    wire.phase = Phase.AUTH
    is_safe = wire.tls is not None or target.hop.is_unix or target.hop.auth_without_tls
    candidates = {**_READABLE, **_PROOFS} if is_safe else _PROOFS
    offered = wire.protocol.capabilities.auth
    usable = [start for name, start in candidates.items() if name in offered]
    if not usable:
        how = "" if is_safe or not offered else " without TLS"
        raise wire.failure(f"the host offers no way to log in{how} that is known here", _NO_MECHANISM)
    for start in usable:
        try:
            return start(user, password)
        except ValueError:  # such as a NUL in PLAIN
            continue
    return None
