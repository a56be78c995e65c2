"""Text from strangers without the characters that do something.

A control character in a header value can end the field, in a log line start another, on a terminal run a
command. Whatever leaves a header as text went through here, so that what plugins hold is only text.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["find_unsafe", "neutralise"]

# C0 but the tab, DEL, C1 (0x9b alone starts a terminal escape), line separators, lone surrogates. As it takes
# long, it is compiled with the first text that may have any: most has none.
_UNSAFE: Final = "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"


def neutralise(text: str) -> str:
    r"""The text with its unsafe characters written out (``\x1b``); it can always be encoded.

    Line ends and all other control characters but the tab are unsafe, and so are lone surrogates.
    """
    if text.isprintable():  # the common case at a tenth of the price
        return text
    return re.sub(_UNSAFE, _written_out, text)


def find_unsafe(text: str) -> str:
    """The first unsafe character of a text; empty if there is none."""
    found = None if text.isprintable() else re.search(_UNSAFE, text)
    return found[0] if found else ""


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
