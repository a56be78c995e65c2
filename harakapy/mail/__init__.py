"""The mail object: envelope, header, content, trace fields and status codes. No trio, no sockets."""

from harakapy.mail.content import Content
from harakapy.mail.domain import is_same_domain, to_ascii, to_unicode
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.mail.header import Header, HeaderField
from harakapy.mail.spool import ContentWriter
from harakapy.mail.status import EnhancedStatus
from harakapy.mail.trace import (
    date_field,
    message_id_field,
    received_field,
    return_path_field,
    with_protocol,
)

__all__ = [
    "Content",
    "ContentWriter",
    "EnhancedStatus",
    "Envelope",
    "Header",
    "HeaderField",
    "Recipient",
    "date_field",
    "is_same_domain",
    "message_id_field",
    "received_field",
    "return_path_field",
    "to_ascii",
    "to_unicode",
    "with_protocol",
]
