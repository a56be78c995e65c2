"""What came of trying a user's credentials at another server (`harakapy.outbound.login_check`)."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

__all__ = ["LoginAnswer", "LoginCheck"]


class LoginAnswer(Enum):
    """What the other server says of credentials."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "not known now"


class LoginCheck(Struct, frozen=True):
    """What came of a check; ``text`` says who answered and what, for the log and not for the client."""

    answer: LoginAnswer
    text: str
