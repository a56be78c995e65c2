"""Commands as values: one class for each verb, which knows how to write itself (RFC 5321 4.1.1)."""

from __future__ import annotations

import binascii
from typing import ClassVar

from msgspec import Struct

from harakapy.smtp.address import UNSAFE_CHARACTERS, Address
from harakapy.smtp.errors import LocalProtocolError
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)
from harakapy.smtp.xclient import ClientClaims

__all__ = [
    "Auth",
    "Bdat",
    "Command",
    "Data",
    "Ehlo",
    "Expn",
    "Helo",
    "Help",
    "Lhlo",
    "Mail",
    "Noop",
    "Quit",
    "Rcpt",
    "Rset",
    "StartTls",
    "Unrecognized",
    "Vrfy",
    "XClient",
]


class _Line:
    """What every command can do: write itself.

    It is no ABC: `isinstance` for a class that descends from one runs Python code, for each command several
    times.
    """

    __slots__ = ()

    def _text(self) -> str:
        """The line before it is encoded."""
        raise AssertionError("every command has a line of its own")

    def to_bytes(self) -> bytes:
        """The line to send, without CRLF; `parse_command` makes an equal command of it.

        Raises LocalProtocolError if a field has control characters: they would end the line.
        """
        text = self._text()
        if not (text.isascii() and text.isprintable()) and UNSAFE_CHARACTERS.search(text):
            raise LocalProtocolError(f"{type(self).__name__} has a field with control characters")
        return text.encode()


class _Word(_Line):
    """A command that takes no argument."""

    __slots__ = ()
    verb: ClassVar[str]

    def _text(self) -> str:
        return self.verb


class Helo(_Line, Struct, frozen=True):
    """HELO: the client's name in plain SMTP. ``host`` is as sent, printable ASCII, no spaces."""

    verb: ClassVar[str] = "HELO"
    host: str

    def _text(self) -> str:
        return f"HELO {self.host}"


class Ehlo(_Line, Struct, frozen=True):
    """EHLO: the client's name, and a question for extensions. ``host`` as in `Helo`."""

    verb: ClassVar[str] = "EHLO"
    host: str

    def _text(self) -> str:
        return f"EHLO {self.host}"


class Lhlo(_Line, Struct, frozen=True):
    """LHLO: what EHLO is in SMTP, said to a server of LMTP (RFC 2033 4.1). ``host`` as in `Helo`."""

    verb: ClassVar[str] = "LHLO"
    host: str

    def _text(self) -> str:
        return f"LHLO {self.host}"


class Mail(_Line, Struct, frozen=True):
    """MAIL FROM: begins a transaction."""

    verb: ClassVar[str] = "MAIL"
    sender: Address
    params: MailParameters = NO_MAIL_PARAMETERS

    def _text(self) -> str:
        line = f"MAIL FROM:{self.sender.path}"
        return line if self.params is NO_MAIL_PARAMETERS else f"{line} {self.params}".rstrip()


class Rcpt(_Line, Struct, frozen=True):
    """RCPT TO: adds one recipient."""

    verb: ClassVar[str] = "RCPT"
    recipient: Address
    params: RcptParameters = NO_RCPT_PARAMETERS

    def _text(self) -> str:
        line = f"RCPT TO:{self.recipient.path}"
        return line if self.params is NO_RCPT_PARAMETERS else f"{line} {self.params}".rstrip()


class Data(_Word, Struct, frozen=True):
    """DATA: asks to send the content, dot-stuffed."""

    verb: ClassVar[str] = "DATA"


class Bdat(_Line, Struct, frozen=True):
    """BDAT: ``size`` octets of content follow at once (RFC 3030 2); ``is_last`` ends the message."""

    verb: ClassVar[str] = "BDAT"
    size: int
    is_last: bool = False

    def _text(self) -> str:
        return f"BDAT {self.size} LAST" if self.is_last else f"BDAT {self.size}"


class Rset(_Word, Struct, frozen=True):
    """RSET: forgets the transaction."""

    verb: ClassVar[str] = "RSET"


class Noop(_Line, Struct, frozen=True):
    """NOOP: does nothing; its argument is ignored."""

    verb: ClassVar[str] = "NOOP"
    argument: str = ""

    def _text(self) -> str:
        return f"NOOP {self.argument}".rstrip(" ")


class Quit(_Word, Struct, frozen=True):
    """QUIT: ends the session."""

    verb: ClassVar[str] = "QUIT"


class Vrfy(_Line, Struct, frozen=True):
    """VRFY: asks whether a user is known.

    ``smtputf8``: the reply may hold UTF-8 (RFC 6531 3.7.4.2); the word itself is not part of ``argument``.
    """

    verb: ClassVar[str] = "VRFY"
    argument: str
    smtputf8: bool = False

    def _text(self) -> str:
        return f"VRFY {self.argument}{' SMTPUTF8' if self.smtputf8 else ''}"


class Expn(_Line, Struct, frozen=True):
    """EXPN: asks for the members of a list. ``smtputf8`` as in `Vrfy`."""

    verb: ClassVar[str] = "EXPN"
    argument: str
    smtputf8: bool = False

    def _text(self) -> str:
        return f"EXPN {self.argument}{' SMTPUTF8' if self.smtputf8 else ''}"


class Help(_Line, Struct, frozen=True):
    """HELP, about ``argument`` if there is one."""

    verb: ClassVar[str] = "HELP"
    argument: str = ""

    def _text(self) -> str:
        return f"HELP {self.argument}".rstrip(" ")


class StartTls(_Word, Struct, frozen=True):
    """STARTTLS: asks to go on encrypted (RFC 3207)."""

    verb: ClassVar[str] = "STARTTLS"


class Auth(_Line, Struct, frozen=True):
    """AUTH: begins a login (RFC 4954 4).

    ``mechanism`` is upper-case; ``initial`` the decoded initial response, None if there was none, which is
    not the same as an empty one. It holds secrets and is kept out of ``repr()``.
    """

    verb: ClassVar[str] = "AUTH"
    mechanism: str
    initial: bytes | None = None

    def __repr__(self) -> str:
        return f"Auth(mechanism={self.mechanism!r})"

    def _text(self) -> str:
        if self.initial is None:
            return f"AUTH {self.mechanism}"
        return f"AUTH {self.mechanism} {binascii.b2a_base64(self.initial, newline=False).decode() or '='}"


class XClient(_Line, Struct, frozen=True):
    """XCLIENT: tells of the client for whom a trusted one speaks; the session begins anew."""

    verb: ClassVar[str] = "XCLIENT"
    claims: ClientClaims

    def _text(self) -> str:
        return f"XCLIENT {self.claims}"


class Unrecognized(_Line, Struct, frozen=True):
    """A verb that is not ours, or whose extension is not offered; ``verb`` is upper-case, not empty."""

    verb: str
    argument: str = ""

    def _text(self) -> str:
        return f"{self.verb} {self.argument}".rstrip(" ")


Command = (
    Helo
    | Ehlo
    | Mail
    | Rcpt
    | Data
    | Bdat
    | Rset
    | Noop
    | Quit
    | Vrfy
    | Expn
    | Help
    | StartTls
    | Auth
    | XClient
    | Unrecognized
)
"""Any command of SMTP. Each has ``verb``, upper-case, and ``to_bytes()``. `Lhlo` is of LMTP."""
