"""SMTP with no I/O (RFC 5321): bytes in, typed events out, replies in, bytes out."""

from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.capabilities import NO_CAPABILITIES, Capabilities
from harakapy.smtp.client import ClientProtocol, Dialect
from harakapy.smtp.command import parse_command
from harakapy.smtp.content import DataDecoder, DotStuffer, LineRules
from harakapy.smtp.dsn import Notify, OriginalRecipient, Ret, decode_xtext, encode_xtext
from harakapy.smtp.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from harakapy.smtp.event import (
    NEED_DATA,
    AuthResponse,
    ChunkEnd,
    Closed,
    Connect,
    ContentChunk,
    ContentEnd,
    EndOfFile,
    NeedData,
    Refused,
    Replied,
    Sent,
)
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    Body,
    DeliverBy,
    MailParameters,
    RcptParameters,
)
from harakapy.smtp.reply import Reply, ReplyParser, parse_reply
from harakapy.smtp.server import Event, ServerLimits, ServerProtocol
from harakapy.smtp.state import State
from harakapy.smtp.verbs import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
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

__all__ = [
    "NEED_DATA", "NO_CAPABILITIES", "NO_MAIL_PARAMETERS", "NO_RCPT_PARAMETERS", "NULL_PATH", "Address",
    "Auth", "AuthResponse", "Bdat", "Body", "Capabilities", "ChunkEnd", "ClientClaims", "ClientProtocol",
    "Closed", "Command", "Connect", "ContentChunk", "ContentEnd", "Data", "DataDecoder", "DeliverBy",
    "Dialect", "DotStuffer", "Ehlo", "EndOfFile", "Event", "Expn", "Helo", "Help", "Lhlo", "LineRules",
    "LocalProtocolError", "Mail", "MailParameters", "NeedData", "Noop", "Notify", "OriginalRecipient",
    "ProtocolError", "Quit", "Rcpt", "RcptParameters", "Refused", "RemoteProtocolError", "Replied", "Reply",
    "ReplyParser", "Ret", "Rset", "Sent", "ServerLimits", "ServerProtocol", "StartTls", "State",
    "Unrecognized", "Vrfy", "XClient", "decode_xtext", "encode_xtext", "parse_command", "parse_reply",
]  # fmt: skip
