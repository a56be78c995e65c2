"""What REQUIRETLS demands of a host, and what follows where it cannot be had (RFC 8689 4.2.1, 5).

A host must offer TLS with a certificate that is good for its name, and REQUIRETLS behind it. One that does
not is passed over for the next; when there is none left, the message fails: its sender would rather know than
have it go in clear. What may pass (a handshake that was cut off, a 4xx to STARTTLS) says nothing about a host
and means later, as always.

Two things go all the same. A unix socket leads to a program on this machine, which no TLS could make safer.
And mail with the null reverse-path, reports above all, is not lost for lack of REQUIRETLS on the way back:
where no host honours it, it goes as if it had not been asked for; a report has only the header of such a
message.
"""

from __future__ import annotations

from msgspec.structs import replace

from harakapy.mail.envelope import Envelope
from harakapy.mail.status import ENCRYPTION_NEEDED, REQUIRETLS_FAILED
from harakapy.outbound.attempt import BAD_TLS, NO_TLS, Answer, Phase
from harakapy.outbound.hop import Target

__all__ = ["for_target", "heed", "lacks_tls", "waived"]

_LACKING = frozenset({REQUIRETLS_FAILED, ENCRYPTION_NEEDED})


def for_target(envelope: Envelope, target: Target) -> Envelope:
    """The envelope to offer to a target: without the demand where that has no meaning."""
    return waived(envelope) if envelope.is_tls_required and target.hop.is_unix else envelope


def waived(envelope: Envelope) -> Envelope:
    """The same envelope without REQUIRETLS."""
    return replace(envelope, params=replace(envelope.params, requiretls=False))


def heed(answer: Answer) -> Answer:
    """What it means for a message with REQUIRETLS that a session could not be opened so.

    The statuses are those of RFC 8689 4.2.1; where STARTTLS is not offered, of its two Postfix's choice.
    """
    if answer.phase is not Phase.TLS:
        return answer
    if answer.status == NO_TLS:
        return replace(answer, status=REQUIRETLS_FAILED)
    if answer.status == BAD_TLS:
        return replace(answer, status=ENCRYPTION_NEEDED)
    if answer.reply is not None and answer.reply.is_permanent:
        text = f"the host refuses STARTTLS: {answer.reply}"
        return replace(answer, reply=None, text=text, status=ENCRYPTION_NEEDED)
    return answer


def lacks_tls(answer: Answer) -> bool:
    """Whether this is what `heed`, or a session, says of a host that does not satisfy REQUIRETLS."""
    return answer.status in _LACKING
