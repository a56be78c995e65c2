"""Commands from lines (RFC 5321 4.1.1); the values themselves are in `verbs`.

MAIL and RCPT of a plain mailbox are nearly all of the traffic, with EHLO and the verbs that stand alone: one
look at such a line takes it whole, and what it took is known to be good. Every other line is parsed again,
slowly and in order, by code that says what is wrong. Both roads give the same command for the same line.

More liberal than RFC 5321, as its own 4.1.1 and the world ask: spaces after ``FROM:`` and ``TO:`` and at the
end of a line, verbs in any case, any printable word as the name in HELO and EHLO, and, unless strict, a
mailbox without angle brackets where it cannot be anything else.

The file is long because each command has its way of being read, and most a quick one besides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from harakapy.smtp.address import (
    NULL_PATH,
    PLAIN_MAILBOX,
    UNSAFE_CHARACTERS,
    parse_forward_path,
    parse_reverse_path,
    plain_address,
)
from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)
from harakapy.smtp.reply import Reply
from harakapy.smtp.strict_base64 import decode_base64
from harakapy.smtp.verbs import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
)
from harakapy.smtp.xclient import ClientClaims

__all__ = ["parse_command"]

MAX_HOST: Final = 255
"""Octets of the name in HELO and EHLO (RFC 5321 4.5.3.1.2)."""
MAX_CHUNK: Final = 2**63 - 1
"""Octets a BDAT may announce: what no file can hold is no size."""

_PARAMETERS = rb"(?: ++([!-~ ]*+))?"
_PLAIN_MAIL = re.compile(rb"(?i:MAIL FROM:) *+<(?:" + PLAIN_MAILBOX + rb")?>" + _PARAMETERS).fullmatch
_PLAIN_EHLO = re.compile(rb"(?i:EHLO) ([!-~]{1,%d})" % MAX_HOST).fullmatch
_PLAIN_RCPT = re.compile(rb"(?i:RCPT TO:) *+<" + PLAIN_MAILBOX + rb">" + _PARAMETERS).fullmatch

_FROM = re.compile(rb"(?i:MAIL FROM:) *+").match
_TO = re.compile(rb"(?i:RCPT TO:) *+").match
# A closing bracket in a quoted local part does not end the path.
_PATH = re.compile(rb'(<(?>(?:[^">]++|"(?>(?:[^"\\]++|\\.)*)")*)>)(?: ++(.*+))?', re.DOTALL).fullmatch
# Without brackets: one word that has no place for another, a quoted local part aside, and is no parameter
# whose value may have an @ in it, which would mean that the path is missing.
_BARE_PATH = re.compile(
    rb'((?!(?i:AUTH|ENVID)=)(?:"(?>(?:[^"\\<>]|\\[^<>])*)"|[^ "<>@]++)@[^ "<>@]++|(?i:postmaster))'
    rb"(?: ++(.*+))?",
    re.DOTALL,
).fullmatch

_LETTERS = re.compile(rb"[A-Za-z]*+").match
_HOST = re.compile(r"[!-~]++").fullmatch
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}").fullmatch  # RFC 4422 3.1
_CHUNK = re.compile(r"([0-9]{1,20})(?: ++(LAST))?", re.ASCII | re.IGNORECASE).fullmatch  # RFC 3030 2
_VERB = re.compile(r"[!-~]++").fullmatch


def parse_command(
    line: bytes,
    *,
    extensions: AbstractSet[str] = frozenset(),
    utf8_allowed: bool = False,
    strict_addresses: bool = False,
) -> Command:
    """Parse one command line, given without its CRLF.

    ``extensions`` are the upper-case keywords offered to the client: parameters of others are refused,
    STARTTLS, AUTH and BDAT without theirs are `Unrecognized`. ``utf8_allowed``: the transaction began with
    SMTPUTF8, so RCPT may be in UTF-8. ``strict_addresses``: a path must stand in angle brackets.

    Raises RemoteProtocolError with the reply to give: 500 5.5.2 if there is no verb, 501 or 555 as the
    command and its parameters have it, 553 5.6.7 for UTF-8 that was not asked for.
    """
    parse_quickly = _QUICK.get(line[:4].upper())
    if parse_quickly is not None and (command := parse_quickly(line, extensions)) is not None:
        return command
    split = _split_path if strict_addresses else _split_bare_path
    return _parse_slowly(line.rstrip(b" "), extensions, utf8_allowed, split)


def _mail_quickly(line: bytes, extensions: AbstractSet[str]) -> Mail | None:
    found = _PLAIN_MAIL(line)
    if found is None:
        return None
    user, host, rest = found.groups()
    sender = NULL_PATH if user is None else plain_address(user, host)
    if sender is None:
        return None
    if not rest:
        return Mail(sender, NO_MAIL_PARAMETERS)
    return Mail(sender, MailParameters.parse(rest.decode("ascii"), extensions=extensions))


def _rcpt_quickly(line: bytes, extensions: AbstractSet[str]) -> Rcpt | None:
    found = _PLAIN_RCPT(line)
    if found is None:
        return None
    user, host, rest = found.groups()
    recipient = plain_address(user, host)
    if recipient is None:
        return None
    if not rest:
        return Rcpt(recipient, NO_RCPT_PARAMETERS)
    return Rcpt(recipient, RcptParameters.parse(rest.decode("ascii"), extensions=extensions))


def _ehlo_quickly(line: bytes, extensions: AbstractSet[str]) -> Ehlo | None:
    found = _PLAIN_EHLO(line)
    return None if found is None else Ehlo(found[1].decode("ascii"))


def _alone(command: Data | Quit | Rset) -> Callable[[bytes, AbstractSet[str]], Command | None]:
    """Takes a line of nothing but the verb."""

    def parse_quickly(line: bytes, extensions: AbstractSet[str]) -> Command | None:
        return command if len(line) == len(command.verb) else None

    return parse_quickly


_DATA: Final = Data()
_QUIT: Final = Quit()
_RSET: Final = Rset()

_QUICK: Final[dict[bytes, Callable[[bytes, AbstractSet[str]], Command | None]]] = {
    b"EHLO": _ehlo_quickly,
    b"MAIL": _mail_quickly,
    b"RCPT": _rcpt_quickly,
    b"DATA": _alone(_DATA),
    b"RSET": _alone(_RSET),
    b"QUIT": _alone(_QUIT),
}


_Split = Callable[[bytes], tuple[bytes, bytes]]


def _parse_slowly(line: bytes, extensions: AbstractSet[str], utf8_allowed: bool, split: _Split) -> Command:
    text = _printable(line)
    verb, _, argument = text.partition(" ")
    if not _VERB(verb):
        raise _refused(500, "5.5.2", "a line must begin with a command")
    verb, argument = verb.upper(), argument.lstrip(" ")
    if verb == "MAIL":
        return _parse_mail(line, extensions, split)
    if verb == "RCPT":
        return _parse_rcpt(line, extensions, utf8_allowed, split)
    needed = _NEEDED_EXTENSION.get(verb)
    parse = _ARGUMENT_PARSERS.get(verb)
    if parse is None or not (needed is None or needed in extensions):
        return Unrecognized(verb, argument)
    return parse(argument)


def _printable(line: bytes) -> str:
    try:
        text = line.decode()
        if (text.isascii() and text.isprintable()) or not UNSAFE_CHARACTERS.search(text):
            return text
        what = "control characters are not allowed in a command"
    except UnicodeDecodeError:
        what = "this is not UTF-8"
    letters = _LETTERS(line)
    known = letters is not None and letters[0].decode().upper() in _VERBS
    raise _refused(501 if known else 500, "5.5.2", what)


def _parse_mail(line: bytes, extensions: AbstractSet[str], split: _Split) -> Mail:
    start = _FROM(line)
    if start is None:
        raise _syntax("MAIL FROM:<address>")
    path, rest = split(line[start.end() :])
    params = MailParameters.parse(rest.decode(), extensions=extensions) if rest else NO_MAIL_PARAMETERS
    return Mail(parse_reverse_path(path, utf8=params.smtputf8), params)


def _parse_rcpt(line: bytes, extensions: AbstractSet[str], utf8_allowed: bool, split: _Split) -> Rcpt:
    start = _TO(line)
    if start is None:
        raise _syntax("RCPT TO:<address>")
    path, rest = split(line[start.end() :])
    recipient = parse_forward_path(path, utf8=utf8_allowed)
    if not rest:
        return Rcpt(recipient, NO_RCPT_PARAMETERS)
    return Rcpt(recipient, RcptParameters.parse(rest.decode(), extensions=extensions, utf8=utf8_allowed))


def _split_path(text: bytes) -> tuple[bytes, bytes]:
    """The path and the parameters; what has no proper end is all path, for the address parser to refuse."""
    found = _PATH(text)
    return (found[1], found[2] or b"") if found else (text, b"")


def _split_bare_path(text: bytes) -> tuple[bytes, bytes]:
    """The same where a mailbox may stand without its brackets, which are added."""
    found = _BARE_PATH(text)
    return (b"<" + found[1] + b">", found[2] or b"") if found else _split_path(text)


def _word(command: Data | Rset | Quit | StartTls) -> Callable[[str], Command]:
    def parse(argument: str) -> Command:
        if argument:
            raise _refused(501, "5.5.4", f"{command.verb} takes no argument")
        return command

    return parse


def _greeting(kind: type[Helo | Ehlo]) -> Callable[[str], Command]:
    def parse(argument: str) -> Command:
        if not argument:
            raise _syntax(f"{kind.verb} hostname")
        if not _HOST(argument) or len(argument) > MAX_HOST:
            raise _refused(501, "5.5.2", f"the hostname must be one ASCII word of at most {MAX_HOST} octets")
        return kind(argument)

    return parse


def _question(kind: type[Vrfy | Expn]) -> Callable[[str], Command]:
    def parse(argument: str) -> Command:
        if not argument:
            raise _syntax(f"{kind.verb} name")
        name, _, last = argument.rpartition(" ")
        if name and last.isascii() and last.upper() == "SMTPUTF8":
            return kind(name.rstrip(" "), smtputf8=True)
        if not argument.isascii():
            raise _refused(553, "5.6.7", "the name is not ASCII and SMTPUTF8 was not asked for")
        return kind(argument)

    return parse


def _parse_bdat(argument: str) -> Bdat:
    found = _CHUNK(argument)
    if found is None:
        raise _syntax("BDAT size [LAST]")
    if int(found[1]) > MAX_CHUNK:
        raise _refused(501, "5.5.4", "there is no such chunk size")
    return Bdat(int(found[1]), is_last=found[2] is not None)


def _parse_auth(argument: str) -> Auth:
    mechanism, space, initial = argument.partition(" ")
    if not mechanism.isascii() or not _MECHANISM(mechanism.upper()):
        raise _syntax("AUTH mechanism [initial-response]")
    if not space:
        return Auth(mechanism.upper())
    response = b"" if initial == "=" else decode_base64(initial.encode())
    if response is None or not initial:
        raise _refused(501, "5.5.2", "the initial response is not base64")
    return Auth(mechanism.upper(), response)


def _parse_xclient(argument: str) -> XClient:
    try:
        return XClient(ClientClaims.parse(argument))
    except ValueError as error:
        raise _refused(501, "5.5.4", f"bad XCLIENT: {error}") from None


_ARGUMENT_PARSERS: Final[dict[str, Callable[[str], Command]]] = {
    "HELO": _greeting(Helo),
    "EHLO": _greeting(Ehlo),
    "DATA": _word(_DATA),
    "BDAT": _parse_bdat,
    "RSET": _word(_RSET),
    "NOOP": Noop,
    "QUIT": _word(_QUIT),
    "VRFY": _question(Vrfy),
    "EXPN": _question(Expn),
    "HELP": Help,
    "STARTTLS": _word(StartTls()),
    "AUTH": _parse_auth,
    "XCLIENT": _parse_xclient,
}
_VERBS: Final = frozenset({"MAIL", "RCPT", *_ARGUMENT_PARSERS})
_NEEDED_EXTENSION: Final = {
    "BDAT": "CHUNKING",
    "STARTTLS": "STARTTLS",
    "AUTH": "AUTH",
    "XCLIENT": "XCLIENT",
}


def _syntax(form: str) -> RemoteProtocolError:
    return _refused(501, "5.5.4", f"syntax: {form}")


def _refused(code: int, enhanced: str, text: str) -> RemoteProtocolError:
    return RemoteProtocolError(Reply(code, text, enhanced), text)
