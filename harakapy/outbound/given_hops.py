"""Next hops in the forms in which plugins give them (hook_get_mx), made into values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harakapy.outbound.hop import NextHop, Protocol, TlsLevel

__all__ = ["NoNextHop", "next_hops"]


class NoNextHop(ValueError):
    """What a plugin gave is no next hop; the message says what is wrong, without a password."""


def next_hops(given: object) -> tuple[NextHop, ...]:
    """The next hops of an answer: one or several, each a NextHop, a text, or a dictionary as Haraka has it.

    Raises NoNextHop, also if there is none.
    """
    several = given if isinstance(given, list | tuple) else [given]
    hops = tuple(map(_next_hop, several))
    if not hops:
        raise NoNextHop("an empty list of next hops")
    return hops


def _next_hop(given: object) -> NextHop:
    try:
        if isinstance(given, NextHop):
            return given
        if isinstance(given, str):
            return NextHop.parse(given)
        if isinstance(given, Mapping):
            return _from_haraka(given)
    except ValueError as error:
        raise NoNextHop(str(error)) from error
    raise NoNextHop(f"a {type(given).__name__} is no next hop")


def _from_haraka(given: Mapping[str, Any]) -> NextHop:
    """A dictionary with the keys of Haraka's manual; ``tls`` is ours. Raises ValueError."""
    unknown = given.keys() - _KEYS
    if unknown:
        raise ValueError(f"the keys {', '.join(sorted(map(str, unknown)))} are not known in a next hop")
    values = {_KEYS[key]: value for key, value in given.items() if value is not None}
    is_lmtp = bool(values.pop("protocol", False)) or "path" in values
    for name, kind in _TYPES.items():
        value = values.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):  # True is no port
            raise ValueError(f"{name} of a next hop is of the wrong type")
    if "tls" in values:
        values["tls"] = TlsLevel(values["tls"])
    return NextHop(**values, protocol=Protocol.LMTP if is_lmtp else Protocol.SMTP)


_KEYS: Final = {
    "exchange": "host",
    "path": "path",
    "port": "port",
    "priority": "preference",
    "bind": "bind",
    "bind_helo": "helo",
    "using_lmtp": "protocol",
    "auth_user": "user",
    "auth_pass": "password",
    "tls": "tls",
}
"""Haraka's names, and ours."""

_TYPES: Final = {
    "host": str, "path": str, "port": int, "preference": int, "bind": str, "helo": str, "user": str,
    "password": str, "tls": str,
}  # fmt: skip
