"""What a body is: its media type, and how it is written down for the way (RFC 2045 5 and 6)."""

from __future__ import annotations

import re
from typing import Final, Self

from msgspec import Struct

from harakapy.mail.header import Header

__all__ = ["ContentType", "transfer_encoding"]

_TOKEN: Final = r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]++"
_TYPE = re.compile(rf"[ \t]*({_TOKEN})[ \t]*/[ \t]*({_TOKEN})")
_PARAMETER = re.compile(rf';[ \t]*({_TOKEN})[ \t]*=[ \t]*("[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|[^ \t;"]*+)')
_QUOTED_PAIR = re.compile(r"\\(.)")


class ContentType(Struct, frozen=True):
    """A media type in lower case, such as ``text`` and ``plain``, with what its structure depends on.

    ``boundary`` is empty if none is given; one that is cut in pieces (RFC 2231 3) counts as none.
    """

    maintype: str
    subtype: str
    boundary: str = ""

    @classmethod
    def of(cls, header: Header, default: str = "text/plain") -> Self:
        """What a header says; ``default`` if it says nothing, or nothing that can be read."""
        value = header.get("Content-Type") or default
        found = _TYPE.match(value)
        if found is None:
            return cls.of(Header(), default)
        boundary = ""
        for name, text in _PARAMETER.findall(value, found.end()):
            if name.lower() == "boundary":
                boundary = _QUOTED_PAIR.sub(r"\1", text[1:-1]) if text.startswith('"') else text
                break
        return cls(found[1].lower(), found[2].lower(), boundary)

    def __str__(self) -> str:
        return f"{self.maintype}/{self.subtype}"


def transfer_encoding(header: Header) -> str:
    """How the body is encoded, in lower case: ``7bit`` if the header does not say (RFC 2045 6.1)."""
    value = (header.get("Content-Transfer-Encoding") or "7bit").lower()
    return value.partition("(")[0].partition(";")[0].strip(" \t") or "7bit"
