"""The answers of plugins: CONT, OK, DENY and their kin, bare or called.

A plugin writes ``return DENY`` or ``return DENY("5.7.1 not here")``: each name is a `Verdict`, and calling
it gives another one that carries a text, a reply code or a value. Which reply a verdict becomes on which
hook is not decided here but in the one table of `harakapy.inbound.outcomes`.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from harakapy.smtp import Reply


class Action(enum.Enum):
    """What a verdict asks for. The names are Haraka's."""

    CONT = "not mine: ask the next plugin"
    OK = "accept, and ask no further plugin of this hook"
    DENY = "refuse for good (5xx)"
    DENYSOFT = "refuse for now (4xx)"
    DENYDISCONNECT = "refuse for good and close the connection"
    DENYSOFTDISCONNECT = "refuse for now and close the connection"
    DISCONNECT = "close the connection"
    HOOK_NEXT = "run the named hook instead"
    DELAY = "try again after so many seconds"

    __hash__ = object.__hash__  # identity, as for equality; that of Enum is written in Python and slow


DENIALS = frozenset({Action.DENY, Action.DENYSOFT, Action.DENYDISCONNECT, Action.DENYSOFTDISCONNECT})
"""The actions that refuse, and so are shown to ``hook_deny`` before they take effect."""


class Verdict(Struct, frozen=True):
    """One answer to a hook.

    ``text`` is the reply's text, "" for the hook's default; newlines make several lines, and it may begin
    with an enhanced status code (``5.7.1 not here``). ``code`` replaces the hook's reply code. ``value`` is
    what hooks that look for something are given: a host name, next hops, seconds, the name of a hook.
    ``plugin`` is filled in for a denial: who gave it.
    """

    action: Action
    text: str = ""
    code: int | None = None
    value: object = None
    plugin: str = ""

    def __call__(self, *lines: object, code: int | None = None, value: object = None) -> Verdict:
        """The same verdict with a reply of its own: texts (one a line) or a whole `Reply`.

        ``DELAY(90)`` and ``OK(value)`` take a value that is not text in the same place.
        Raises ValueError if the code does not say what the verdict says (a DENY with 250), TypeError if a
        denial is given what is no text.
        """
        if len(lines) != 1 or isinstance(lines[0], str):
            return _checked(Verdict(self.action, "\n".join(map(str, lines)), code, value))
        only = lines[0]
        if isinstance(only, Reply):
            prefix = f"{only.enhanced} " if only.enhanced else ""
            return _checked(Verdict(self.action, prefix + only.text, code or only.code, value))
        if self.is_denial and only is not None:
            raise TypeError(f"{self.action.name} takes texts or a Reply, not a {type(only).__name__}")
        return _checked(Verdict(self.action, code=code, value=only))

    @property
    def is_denial(self) -> bool:
        """Whether it refuses, softly or for good."""
        return self.action in DENIALS

    @property
    def is_soft(self) -> bool:
        """Whether it refuses for now only, so that the client may come back."""
        return self.action in (Action.DENYSOFT, Action.DENYSOFTDISCONNECT)

    def __str__(self) -> str:
        return f"{self.action.name}({self.text!r})" if self.text else self.action.name


def _checked(verdict: Verdict) -> Verdict:
    allowed = _CODE_CLASSES.get(verdict.action)
    if verdict.code is not None and allowed is not None and verdict.code // 100 not in allowed:
        classes = " or ".join(f"{digit}xx" for digit in allowed)
        raise ValueError(f"{verdict.action.name} takes a {classes} reply code, not {verdict.code}")
    return verdict


_CODE_CLASSES = {
    Action.OK: (2, 3),
    Action.DENY: (5,),
    Action.DENYDISCONNECT: (5,),
    Action.DENYSOFT: (4,),
    Action.DENYSOFTDISCONNECT: (4,),
    Action.DISCONNECT: (4, 5),
}

CONT = Verdict(Action.CONT)
OK = Verdict(Action.OK)
DENY = Verdict(Action.DENY)
DENYSOFT = Verdict(Action.DENYSOFT)
DENYDISCONNECT = Verdict(Action.DENYDISCONNECT)
DENYSOFTDISCONNECT = Verdict(Action.DENYSOFTDISCONNECT)
DISCONNECT = Verdict(Action.DISCONNECT)
HOOK_NEXT = Verdict(Action.HOOK_NEXT)
NEXT_HOOK = HOOK_NEXT  # the name in Haraka's code; HOOK_NEXT is the one in its manual
DELAY = Verdict(Action.DELAY)
