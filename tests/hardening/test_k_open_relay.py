"""Nobody from outside can have mail sent to elsewhere, however the recipient is written."""

from pathlib import Path

import pytest

from harakapy.net import SocketAddress
from harakapy.testing import connect
from tests.inbound.scene import MESSAGE

from .scene import esmtp, logged

OWN, OTHER = "own.test", "other.test"
PLUGINS = {
    "plugins": ["relay", "rcpt_to_in_host_list", "queue_discard"],
    "plugin": {"rcpt_to_in_host_list": {"hosts": [OWN]}, "relay": {"acl": ["198.51.100.0/24"]}},
}

SENDERS = ["", f"a@{OWN}", f"a@{OTHER}", "a@mx.test", "a@[192.0.2.25]", "a@localhost", f"victim@{OTHER}"]
RECIPIENTS = [
    f"victim@{OTHER}",
    f'"victim@{OTHER}"@{OWN}',
    f"victim%{OTHER}@{OWN}",
    f"@{OWN}:victim@{OTHER}",
    f"@{OWN},@x.test:victim@{OTHER}",
    f"victim@{OTHER}@{OWN}",
    f"{OTHER}!victim@{OWN}",
    f"{OTHER}!victim",
    f'"{OTHER}!victim"@{OWN}',
    f'"victim%{OTHER}"@{OWN}',
    f"victim%{OTHER}@mx.test",
    f"victim%{OTHER}@[192.0.2.25]",
    f"victim@{OTHER}.",
    f"victim@{OTHER}%{OWN}",
    f'"victim@{OTHER}"',
    f"victim@{OWN}.{OTHER}",
    f"victim@x{OWN}",
    f"victim@[{OWN}]",
    f"victim@{OWN}\0@{OTHER}",
    f"victim@{OTHER} {OWN}",
    f"victim@{OTHER}(@{OWN})",
    "victim@[198.51.100.1]",
]


@pytest.mark.parametrize("recipient", RECIPIENTS, ids=ascii)
async def test_a_recipient_elsewhere_is_refused(recipient: str, tmp_path: Path) -> None:
    async with esmtp(tmp_path, **PLUGINS, smtp={"max_errors": 1000}) as client:
        for sender in SENDERS:
            assert (await client.command(f"MAIL FROM:<{sender}>")).code == 250
            assert (await client.command(f"RCPT TO:<{recipient}>")).code in (501, 550, 553, 554)
            assert (await client.command("DATA")).code in (503, 554)
            assert (await client.command("RSET")).code == 250
        assert (await client.command(f"MAIL FROM:<a@{OTHER}>")).code == 250
        assert (await client.command(f"RCPT TO:<@x.test:user@{OWN}>")).code == 250, "a route to us is ignored"


@pytest.mark.parametrize("name", ["mx.test", OWN, "localhost", "[192.0.2.25]", "[127.0.0.1]", "198.51.100.7"])
async def test_a_name_in_helo_opens_nothing(name: str, tmp_path: Path) -> None:
    async with esmtp(tmp_path, **PLUGINS) as client:
        for verb in ("EHLO", "HELO"):
            assert (await client.command(f"{verb} {name}")).code == 250
            replies = await client.hand_over(f"a@{OWN}", [f"victim@{OTHER}"], MESSAGE)
            assert [reply.code for reply in replies] == [250, 550, 554]
            await client.command("RSET")


CLAIMS = [
    "XCLIENT ADDR=198.51.100.1 NAME=mx.test LOGIN=ann",
    "XFORWARD ADDR=198.51.100.1 NAME=mx.test",
    "PROXY TCP4 198.51.100.1 192.0.2.25 4321 25",
    "AUTH EXTERNAL YW5u",
    "XAUTH ann",
    "XUSER ann",
]


@pytest.mark.parametrize("claim", CLAIMS)
async def test_what_a_stranger_claims_to_be_is_not_believed(claim: str, tmp_path: Path) -> None:
    async with esmtp(tmp_path, **PLUGINS) as client:
        assert 500 <= (await client.command(claim)).code < 560
        await client.command("EHLO client.test")
        replies = await client.hand_over("a@client.test", [f"victim@{OTHER}"], MESSAGE)
        assert [reply.code for reply in replies] == [250, 550, 554]


async def test_who_may_relay_may_use_any_local_part(tmp_path: Path) -> None:
    with logged(tmp_path, **PLUGINS) as server:
        async with server.running(), connect(server, SocketAddress("198.51.100.7", 1)) as client:
            await client.reply()
            await client.command("EHLO ours.test")
            await client.command("MAIL FROM:<a@own.test>")
            assert (await client.command(f"RCPT TO:<victim%{OTHER}@{OWN}>")).code == 250
            assert (await client.command(f"RCPT TO:<victim@{OTHER}>")).code == 250
