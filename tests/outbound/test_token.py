"""Tokens from commands and files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from harakapy.outbound.hop import NextHop
from harakapy.outbound.token import EXPIRY_MARGIN_S, NoToken, Tokens


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def counting(folder: Path, output: str) -> NextHop:
    """A hop whose command writes this, ``{n}`` being how often it has run."""
    runs = folder / "runs"
    program = (
        f"import pathlib; p = pathlib.Path({str(runs)!r}); "
        "n = len(p.read_bytes()) + 1 if p.exists() else 1; p.write_bytes(b'x' * n); "
        f"print({output!r}.replace('N', str(n)))"
    )
    return NextHop(host="mx.example.org", user="me", token_command=(sys.executable, "-c", program))


def saying(output: str) -> NextHop:
    """A hop whose command writes this."""
    return NextHop(
        host="mx.example.org", user="me", token_command=(sys.executable, "-c", f"print({output!r})")
    )


async def test_a_token_is_kept(tmp_path: Path) -> None:
    tokens, hop = Tokens(), counting(tmp_path, "tokenN")
    assert [await tokens.get(hop), await tokens.get(hop)] == ["token1", "token1"]


async def test_a_token_that_expires_soon_is_not_used(tmp_path: Path) -> None:
    clock = Clock()
    tokens, hop = Tokens(clock), counting(tmp_path, '{"access_token": "tokenN", "expires_in": 3600}')
    assert await tokens.get(hop) == "token1"
    clock.time += 3600 - EXPIRY_MARGIN_S - 1
    assert await tokens.get(hop) == "token1"
    clock.time += 1
    assert await tokens.get(hop) == "token2"


async def test_a_refused_token_is_not_given_again(tmp_path: Path) -> None:
    tokens, hop = Tokens(), counting(tmp_path, "tokenN")
    token = await tokens.get(hop)
    tokens.refuse(hop, "another")
    assert await tokens.get(hop) == token
    tokens.refuse(hop, token)
    assert await tokens.get(hop) == "token2"


async def test_many_who_wait_for_a_token_run_its_command_once(tmp_path: Path) -> None:
    tokens, hop = Tokens(), counting(tmp_path, "tokenN")
    found: list[str] = []

    async def ask() -> None:
        found.append(await tokens.get(hop))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert found == ["token1"] * 5


async def test_a_file_is_read_whenever_a_token_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    hop = NextHop(host="mx.example.org", user="me", token_file=path)
    tokens = Tokens()
    for text, token in (("one\n", "one"), ('{"access_token": "two"}', "two")):
        path.write_text(text)
        assert await tokens.get(hop) == token


@pytest.mark.parametrize(
    ("hop", "reason"),
    [
        (saying(""), "gave no token"),
        (saying("two words"), "gave no token"),
        (saying("{broken"), "broken JSON"),
        (saying('{"error": "denied"}'), "gave no token"),
        (saying('{"access_token": "x", "expires_in": "soon"}'), "no number"),
        (NextHop(host="a.example", user="me", token_command=("/bin/false",)), "ended with status 1"),
        (NextHop(host="a.example", user="me", token_command=("/no/such/command",)), "cannot be run"),
        (NextHop(host="a.example", user="me", token_file=Path("/no/such/file")), "cannot be read"),
        (NextHop(host="a.example", user="me"), "neither"),
    ],
)
async def test_what_gives_no_token_is_told(hop: NextHop, reason: str) -> None:
    with pytest.raises(NoToken, match=reason):
        await Tokens().get(hop)


async def test_a_command_that_hangs_is_given_up(autojump_clock: object) -> None:
    hop = NextHop(host="mx.example.org", user="me", token_command=("/bin/sleep", "1000"))
    with pytest.raises(NoToken, match="longer than"):
        await Tokens().get(hop)


async def test_nothing_of_what_a_command_wrote_is_in_the_error() -> None:
    with pytest.raises(NoToken) as raised:
        await Tokens().get(saying("se cret"))
    assert "cret" not in raised.value.reason.replace(sys.executable, "")
