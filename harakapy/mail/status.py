"""Enhanced status codes: why something was accepted, put off or refused (RFC 3463 and its registry at IANA).

The three numbers are class (how final it is), subject (what had the problem) and detail. In a reply they are
text (``Reply.enhanced``); here they are values, for the failure policy and for delivery reports.
"""

from __future__ import annotations

import re
from typing import Final, Self

from msgspec import Struct

# RFC 3463 2: up to three digits without leading zeros, and no other classes than these.
_STATUS = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")

_MAX_NUMBER: Final = 999


class EnhancedStatus(Struct, frozen=True):
    """One code, such as 5.1.1.

    ``category`` (what RFC 3463 calls class) is 2, 4 or 5, ``subject`` and ``detail`` are 0 to 999.
    Raises ValueError if a number is out of range.
    """

    category: int
    subject: int
    detail: int

    def __post_init__(self) -> None:
        numbers = (self.subject, self.detail)
        if self.category not in (2, 4, 5) or not all(0 <= number <= _MAX_NUMBER for number in numbers):
            raise ValueError(f"{self} is not an enhanced status code")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The code that ``text`` is, all of it. Raises ValueError if it is none."""
        found = _STATUS.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not an enhanced status code")
        return cls(int(found[1]), int(found[2]), int(found[3]))

    @property
    def is_success(self) -> bool:
        """2: done."""
        return self.category == 2

    @property
    def is_transient(self) -> bool:
        """4: later perhaps."""
        return self.category == 4

    @property
    def is_permanent(self) -> bool:
        """5: never."""
        return self.category == 5

    @property
    def meaning(self) -> str:
        """What subject and detail say, for people; an unknown detail gives the meaning of its subject."""
        return _MEANINGS.get((self.subject, self.detail)) or _MEANINGS.get((self.subject, 0), _MEANINGS[0, 0])

    def with_category(self, category: int) -> EnhancedStatus:
        """The same reason with another finality: 4.4.1 becomes 5.4.1 when time is up."""
        return EnhancedStatus(category, self.subject, self.detail)

    def __str__(self) -> str:
        return f"{self.category}.{self.subject}.{self.detail}"


# As in the registry, which says what each is for; the texts are ours and short enough for a report.
_MEANINGS: Final = {
    (0, 0): "no more is known",
    (1, 0): "a problem with an address",
    (1, 1): "no such mailbox",
    (1, 2): "no such domain, or it takes no mail",
    (1, 3): "the recipient's address is malformed",
    (1, 4): "the recipient's address is ambiguous",
    (1, 5): "the recipient's address is valid",
    (1, 6): "the mailbox has moved, and nobody knows where",
    (1, 7): "the sender's address is malformed",
    (1, 8): "the sender's domain takes no mail",
    (1, 10): "the recipient's domain takes no mail (null MX)",
    (2, 0): "a problem with the mailbox",
    (2, 1): "the mailbox is disabled",
    (2, 2): "the mailbox is full",
    (2, 3): "the message is too large for this mailbox",
    (2, 4): "a mailing list could not be expanded",
    (3, 0): "a problem with a mail system",
    (3, 1): "the mail system is full",
    (3, 2): "the mail system takes no messages now",
    (3, 3): "the mail system lacks a feature that is needed",
    (3, 4): "the message is too large for the mail system",
    (3, 5): "the mail system is configured wrongly",
    (3, 6): "the priority was changed",
    (4, 0): "a problem on the way",
    (4, 1): "the host does not answer",
    (4, 2): "the connection was lost",
    (4, 3): "a directory, such as DNS, does not answer",
    (4, 4): "there is no way to the host",
    (4, 5): "the mail system is congested",
    (4, 6): "the message goes in a loop",
    (4, 7): "the time for delivery is over",
    (5, 0): "a problem with the protocol",
    (5, 1): "the command is invalid here",
    (5, 2): "the command is malformed",
    (5, 3): "there are too many recipients",
    (5, 4): "the parameters of a command are invalid",
    (5, 6): "the authentication exchange line is too long",
    (6, 0): "a problem with the content",
    (6, 1): "the kind of content is not supported",
    (6, 2): "the content must be converted, which is forbidden",
    (6, 3): "the content must be converted, which is not supported",
    (6, 5): "the content could not be converted",
    (6, 6): "the content is not available",
    (6, 7): "an address is not ASCII, and the other side takes only ASCII",
    (6, 8): "a reply that is not ASCII is needed, and was not asked for",
    (6, 9): "a header is not ASCII, and the other side takes only ASCII",
    (7, 0): "a problem with security or policy",
    (7, 1): "delivery is not authorised",
    (7, 8): "the credentials are invalid",
    (7, 9): "the authentication mechanism is too weak",
    (7, 10): "encryption is needed",
    (7, 11): "encryption is needed for this authentication mechanism",
    (7, 20): "no DKIM signature is valid",
    (7, 23): "SPF validation failed",
    (7, 24): "SPF validation met an error",
    (7, 25): "reverse DNS validation failed",
    (7, 26): "several authentication checks failed",
    (7, 27): "the sender's domain sends no mail (null MX)",
    (7, 28): "too much mail at once",
    (7, 29): "ARC validation failed",
    (7, 30): "REQUIRETLS cannot be honoured",
}

SUCCESS: Final = EnhancedStatus(2, 0, 0)
FAILED: Final = EnhancedStatus(5, 0, 0)
DEFERRED: Final = EnhancedStatus(4, 0, 0)

NO_SUCH_MAILBOX: Final = EnhancedStatus(5, 1, 1)
NO_SUCH_DOMAIN: Final = EnhancedStatus(5, 1, 2)
BAD_RECIPIENT_SYNTAX: Final = EnhancedStatus(5, 1, 3)
BAD_SENDER_SYNTAX: Final = EnhancedStatus(5, 1, 7)
NULL_MX: Final = EnhancedStatus(5, 1, 10)

SYSTEM_PROBLEM: Final = EnhancedStatus(4, 3, 0)
SYSTEM_FULL: Final = EnhancedStatus(4, 3, 1)
SHUTTING_DOWN: Final = EnhancedStatus(4, 3, 2)
MESSAGE_TOO_LARGE: Final = EnhancedStatus(5, 3, 4)

NO_ANSWER: Final = EnhancedStatus(4, 4, 1)
CONNECTION_LOST: Final = EnhancedStatus(4, 4, 2)
DNS_FAILED: Final = EnhancedStatus(4, 4, 3)
NO_ROUTE: Final = EnhancedStatus(5, 4, 4)
LOOP: Final = EnhancedStatus(5, 4, 6)
EXPIRED: Final = EnhancedStatus(4, 4, 7)  # RFC 3463 3.5: reported with class 4 although it is final

BAD_SEQUENCE: Final = EnhancedStatus(5, 5, 1)
BAD_SYNTAX: Final = EnhancedStatus(5, 5, 2)
TOO_MANY_RECIPIENTS: Final = EnhancedStatus(4, 5, 3)
BAD_PARAMETER: Final = EnhancedStatus(5, 5, 4)

CONVERSION_NEEDED: Final = EnhancedStatus(5, 6, 3)
ADDRESS_NOT_ASCII: Final = EnhancedStatus(5, 6, 7)

NOT_AUTHORIZED: Final = EnhancedStatus(5, 7, 1)
BAD_CREDENTIALS: Final = EnhancedStatus(5, 7, 8)
ENCRYPTION_NEEDED: Final = EnhancedStatus(5, 7, 10)
REQUIRETLS_FAILED: Final = EnhancedStatus(5, 7, 30)
