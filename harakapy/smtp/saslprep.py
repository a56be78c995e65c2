"""SASLprep (RFC 4013): one spelling for each user name and password.

The tables are those of Unicode 3.2, as the RFC fixes them, from the standard library.
"""

from __future__ import annotations

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0

__all__ = ["saslprep"]

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Prepare a name or a password for comparison.

    Code points that Unicode 3.2 did not know pass, as in what RFC 3454 7 calls a query.

    Raises ValueError if it holds what may not occur (control characters, surrogates, mixed directions).
    """
    if text.isascii():
        prepared = text
    else:
        mapped = "".join(
            " " if stringprep.in_table_c12(char) else char
            for char in text
            if not stringprep.in_table_b1(char)
        )
        prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if prepared.isascii():
        if not prepared.isprintable():
            raise ValueError("control character in a name or password")
        return prepared
    if any(prohibited(char) for char in prepared for prohibited in _PROHIBITED):
        raise ValueError("prohibited character in a name or password")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 6: text with a right-to-left letter begins and ends with one and has no left-to-right one."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(map(stringprep.in_table_d2, text)):
        raise ValueError("mixed directions in a name or password")
