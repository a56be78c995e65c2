"""The addresses of next hops: what the DNS says, and in which order they are tried."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import trio
from msgspec import Struct

from harakapy.net import NameNotFound, NoData, Resolver, TemporaryDnsError
from harakapy.outbound.hop import NextHop, Target

__all__ = ["Addresses", "Found"]

_MAX_ADDRESSES: Final = 8
"""Addresses used of one host, so that one with a hundred does not hide the others. Picked."""

_Question = tuple[str, str]
"""A host and the type of its addresses, ``"A"`` or ``"AAAA"``."""
_Answers = dict[_Question, tuple[str, ...] | None]
"""The addresses for each question; None where the DNS does not tell now."""


class Found(Struct, frozen=True):
    """What a look-up of one host gave; ``is_unsure`` if the DNS did not tell all of it."""

    hop: NextHop
    targets: tuple[Target, ...] = ()
    is_unsure: bool = False


class Addresses:
    """Looks up the addresses of next hops."""

    def __init__(self, resolver: Resolver, ip_version: str, rng: random.Random) -> None:
        self._resolver = resolver
        self._types = {"6": ("AAAA",), "4": ("A",)}.get(ip_version, ("AAAA", "A"))
        self._rng = rng

    async def of_all(self, hops: Sequence[NextHop]) -> list[Found]:
        """The targets of each next hop; for one hop IPv6 and IPv4 take turns, and equal ones are shuffled."""
        hosts = dict.fromkeys(hop.host for hop in hops if not (hop.is_unix or hop.address))
        answers = await self._answers([(host, type_) for host in hosts for type_ in self._types])
        return [self._of_one(hop, answers) for hop in hops]

    def _of_one(self, hop: NextHop, answers: _Answers) -> Found:
        if hop.is_unix or hop.address:
            return Found(hop, (Target(hop, hop.host, hop.address),))
        found = [answers[hop.host, type_] for type_ in self._types]
        known = [self._rng.sample(addresses, len(addresses)) for addresses in found if addresses]
        in_turns = [address for turn in zip_longest(*known) for address in turn if address]
        targets = tuple(Target(hop, hop.host, address) for address in in_turns[:_MAX_ADDRESSES])
        return Found(hop, targets, is_unsure=None in found)

    async def _answers(self, questions: Sequence[_Question]) -> _Answers:
        """What the DNS says, asked at the same time; what is remembered needs no tasks, which cost more."""
        if all(self._resolver.remembers(*question) for question in questions):
            return {question: await self._lookup(question) for question in questions}
        answers: _Answers = {}

        async def ask(question: _Question) -> None:
            answers[question] = await self._lookup(question)

        async with trio.open_nursery() as nursery:
            for question in questions:
                nursery.start_soon(ask, question)
        return answers

    async def _lookup(self, question: _Question) -> tuple[str, ...] | None:
        host, type_ = question
        try:
            found = await (self._resolver.aaaa(host) if type_ == "AAAA" else self._resolver.a(host))
            return tuple(filter(_is_usable, found))
        except (NameNotFound, NoData):
            return ()
        except TemporaryDnsError:
            return None


def _is_usable(address: str) -> bool:
    """Whether somebody can be there at all."""
    ip = ipaddress.ip_address(address)
    return not (ip.is_unspecified or ip.is_multicast)
