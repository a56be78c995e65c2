"""Addresses and parameters of MAIL and RCPT, as the whole server takes them."""

import random
import string
from pathlib import Path

import pytest

from harakapy import OK, Address, Plugin, RcptParameters, Verdict, hookimpl
from harakapy.testing import Client
from tests.inbound.scene import MESSAGE, Accept

from .scene import esmtp, in_step, open_transaction


class Everybody(Plugin):
    """Takes mail for anybody, and remembers whom it was for."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = 0
        self.recipients: list[Address] = []
        self.params: list[RcptParameters] = []

    @hookimpl
    def hook_rcpt(self, recipient: Address, params: RcptParameters) -> Verdict:
        self.recipients.append(recipient)
        self.params.append(params)
        return OK

    @hookimpl
    def hook_queue(self) -> Verdict:
        self.messages += 1
        return OK


async def answer(client: Client, octets: bytes) -> str:
    await client.send(octets + b"\r\n")
    return str(await client.reply()).replace("\n", " | ")


LONG_LABEL, LONGER_LABEL = "a" * 63, "a" * 64
DOMAIN_255 = ".".join(["a" * 63] * 3 + ["b" * 63])
MAIL = {
    "FROM:<>": "250",
    "FROM: <a@b.test>": "250",
    "from:<a@b.test>": "250",
    "FROM:<a@b": "501 5.1.7",
    "FROM:<<a@b>>": "501 5.1.7",
    "FROM:<a@b>>": "501 5.",
    "FROM:<a b@c>": "501 5.1.7",
    "FROM:a@b.test": "250",
    "FROM:AUTH=a@b.test": "501 5.1.7",
    'FROM:<"a b"@c.test>': "250",
    'FROM:<"a\\"b"@c.test>': "250",
    'FROM:<"a@b"@c.test>': "250",
    'FROM:<""@c.test>': "250",
    "FROM:<@x.test,@y.test:a@b.test>": "250",
    "FROM:<a@b@c.test>": "501 5.1.7",
    f"FROM:<{'a' * 64}@b.test>": "250",
    f"FROM:<{'a' * 65}@b.test>": "501 5.1.7",
    f"FROM:<a@{LONG_LABEL}.test>": "250",
    f"FROM:<a@{LONGER_LABEL}.test>": "501 5.1.7",
    f"FROM:<a@{DOMAIN_255}>": "501 5.1.7",  # the path is longer than 256
    f"FROM:<a@{DOMAIN_255[:252]}>": "250",
    f"FROM:<a@{DOMAIN_255[:253]}>": "501 5.1.7",
    "FROM:<a@[127.0.0.1]>": "250",
    "FROM:<a@[IPv6:::1]>": "250",
    "FROM:<a@[IPv6:zz]>": "501 5.1.7",
    "FROM:<a@[1.2.3]>": "501 5.1.7",
    "FROM:<a@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.test>": "553 5.6.7",
    "FROM:<a@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.test> SMTPUTF8": "250",
    "FROM:<\N{LATIN SMALL LETTER U WITH DIAERESIS}@b.test>": "553 5.6.7",
    "FROM:<a@xn---.test>": "501 5.1.7",
    "FROM:<a@b.test> SIZE=-1": "501 5.5.4",
    "FROM:<a@b.test> SIZE=abc": "501 5.5.4",
    "FROM:<a@b.test> SIZE=": "501 5.5.4",
    "FROM:<a@b.test> SIZE=" + "9" * 20: "552 5.3.4",
    "FROM:<a@b.test> SIZE=" + "9" * 21: "501 5.5.4",  # RFC 1870 6.1: 20 digits at most
    "FROM:<a@b.test> SIZE=1 SIZE=1": "501 5.5.4",
    "FROM:<a@b.test> BODY=9BIT": "501 5.5.4",
    "FROM:<a@b.test> NONSENSE": "555 5.5.4",
    "FROM:<a@b.test> NONSENSE=1": "555 5.5.4",
    "FROM:<a@b.test> =": "501 5.5.4",
}


@pytest.mark.parametrize(("argument", "expected"), MAIL.items(), ids=[ascii(text)[:50] for text in MAIL])
async def test_mail_is_answered_by_what_its_address_is(argument: str, expected: str, tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        reply = await answer(client, b"mail " + argument.encode())
        assert reply.startswith(expected)
        assert await in_step(client)


@pytest.mark.parametrize(
    "local_part",
    ['"a b"', r'"a\"b"', '""', "o'x", "a/b", "a{b}", "-oQ/tmp", "|cmd", "__proto__", "constructor"],
)
async def test_odd_local_parts_are_only_text(local_part: str, tmp_path: Path) -> None:
    everybody = Everybody()
    async with esmtp(tmp_path, everybody, smtp={"routed_local_parts": "accept"}) as client:
        reply = await client.hand_over(f"{local_part}@x.test", [f"{local_part}@example.com"], MESSAGE)
        assert reply[-1].code == 250
        assert await in_step(client)
    [recipient] = everybody.recipients
    assert recipient.original == f"{local_part}@example.com"
    assert Address.parse(recipient.address) == recipient


HARMLESS = [
    "x'/**/UNION/**/SELECT/**/*--", "${jndi:ldap://x.test/a}", "$(id)", "`id`", "$HOME", "{{7*7}}", "~root",
    "%s%s%n", "a=b", "#", "?", "*", "&", "hasOwnProperty", "toString", "con", "_",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
async def test_what_other_programs_would_run_is_data_here(text: str, tmp_path: Path) -> None:
    """As an atom where it is one, else in quotes; with the plugins that have lists and files."""
    plugins = ["rcpt_to_in_host_list", "queue_maildir", "relay"]
    table = {"rcpt_to_in_host_list": {"hosts": ["example.com"]}, "queue_maildir": {"path": "maildir/{user}"}}
    async with esmtp(tmp_path, plugins=plugins, plugin=table) as client:
        path = f'"{text}"' if set(text) & set(r"${}()\:;,") else text
        mail = await client.command(f"MAIL FROM:<{path}@x.test>")
        rcpt = await client.command(f"RCPT TO:<{path}@example.com>")
        assert mail.code == 250
        assert rcpt.code == (550 if "%" in text else 250), "a local part that routes is refused to strangers"
        if rcpt.code == 250:
            assert (await client.command("DATA")).code == 354
            assert (await answer(client, MESSAGE + b".")).startswith("250 ")
        assert await in_step(client)
    stored = [path for path in (tmp_path / "maildir").rglob("*") if path.is_file()]
    assert len(stored) == (rcpt.code == 250)


@pytest.mark.parametrize("user", ["../../etc/passwd", "..", ".", "/dev/null", "a/../b", "-rf", "|cmd"])
async def test_a_maildir_stays_below_its_folder(user: str, tmp_path: Path) -> None:
    table = {"rcpt_to_in_host_list": {"hosts": ["example.com"]}, "queue_maildir": {"path": "maildir/{user}"}}
    state = tmp_path / "state"
    state.mkdir()
    async with esmtp(
        state, plugins=["rcpt_to_in_host_list", "queue_maildir"], plugin=table, state_dir=str(state)
    ) as client:
        await client.hand_over("a@x.test", [f'"{user}"@example.com'], MESSAGE)
    for file in tmp_path.rglob("*"):
        assert file == state or file.is_relative_to(state)
    stored = [path for path in state.rglob("*") if path.is_file() and path.name != "log"]
    assert all(path.is_relative_to(state / "maildir") for path in stored)


async def test_an_address_with_utf8_that_was_not_asked_for_leaves_the_session_well(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        for line in ("MAIL FROM:<ü@b.test>", "RCPT TO:<ü@b.test>", "VRFY ü", "EXPN ü", "DATA"):
            assert 500 <= (await client.command(line)).code < 560
        await open_transaction(client)
        assert (await client.command("RCPT TO:<ü@example.com>")).code == 553
        assert (await client.command("VRFY ü")).code in (252, 501, 553)
        assert (await client.command("DATA")).code == 354
        assert (await answer(client, b".")).startswith("250 ")
        assert await in_step(client)


COMMANDS = [
    b"EHLO x%sy", b"HELO x%sy", b"MAIL FROM:<x%sy@b.test>", b"MAIL FROM:<a@b.test> SIZE=%s1",
    b"RCPT TO:<x%sy@example.com>", b"NOOP %s", b"VRFY %s", b"EXPN x%s", b"HELP %s", b"XYZ%s",
    b"AUTH %s", b"R%sSET",
]  # fmt: skip
CONTROLS = [
    b"\0",
    b"\t",
    b"\v",
    b"\x1b[31m",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\r",
    b"\b",
    b"\xed\xa0\x80",
]


@pytest.mark.parametrize("octets", CONTROLS, ids=ascii)
async def test_control_characters_and_broken_utf8_are_refused_and_logged_escaped(
    octets: bytes, tmp_path: Path
) -> None:
    async with esmtp(tmp_path, Accept(), smtp={"max_errors": 100}) as client:
        for command in COMMANDS:
            reply = await answer(client, command.replace(b"%s", octets))
            assert reply[:3] in {"500", "501"}, command
            assert octets.decode("latin-1") not in reply
        assert await in_step(client)
    assert not set((tmp_path / "log").read_bytes()) - set(string.printable.encode()) - {0x0A}
    assert b"\x1b" not in (tmp_path / "log").read_bytes()


async def offers(client: Client, keyword: str) -> bool:
    lines = (await client.command("EHLO client.test")).lines
    return any(line.split()[0] == keyword for line in lines)


PARAMETERS = {
    "MAIL FROM:<a@b.test> ENVID=ab+0D+0AX-Inject:1": "DSN",
    "MAIL FROM:<a@b.test> ENVID=+0g": "DSN",
    "MAIL FROM:<a@b.test> RET=BOTH": "DSN",
    "MAIL FROM:<a@b.test> RET=FULL RET=FULL": "DSN",
    "RCPT TO:<b@example.com> ORCPT=rfc822;a+0D+0Ab": "DSN",
    "RCPT TO:<b@example.com> ORCPT=+0g": "DSN",
    "RCPT TO:<b@example.com> NOTIFY=NEVER,FAILURE": "DSN",
    "RCPT TO:<b@example.com> NOTIFY=": "DSN",
    "RCPT TO:<b@example.com> NOTIFY=SUCCESS NOTIFY=SUCCESS": "DSN",
    "MAIL FROM:<a@b.test> HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z": "FUTURERELEASE",
    "MAIL FROM:<a@b.test> HOLDFOR=-1": "FUTURERELEASE",
    "MAIL FROM:<a@b.test> BY=0;R": "DELIVERBY",
    "MAIL FROM:<a@b.test> MT-PRIORITY=10": "MT-PRIORITY",
}


@pytest.mark.parametrize(("line", "keyword"), PARAMETERS.items(), ids=list(PARAMETERS))
async def test_a_malformed_parameter_is_a_501_if_its_extension_is_offered_else_a_555(
    line: str, keyword: str, tmp_path: Path
) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        expected = "501 5.5.4" if await offers(client, keyword) else "555 5.5.4"
        if line.startswith("RCPT"):
            await open_transaction(client)
        assert (await answer(client, line.encode())).startswith(expected)
        assert await in_step(client)


async def test_binary_content_is_not_for_data(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        assert (await client.command("MAIL FROM:<a@b.test> BODY=BINARYMIME")).code == 250
        assert (await client.command("RCPT TO:<b@example.com>")).code == 250
        assert (await client.command("DATA")).code == 503
        assert await in_step(client)


@pytest.mark.parametrize("value", ["<>", "+3D", "a+40b.test"])
async def test_whom_a_stranger_names_in_auth_is_read_and_not_believed(value: str, tmp_path: Path) -> None:
    everybody = Accept()

    class Judge(Plugin):
        @hookimpl
        def hook_auth(self) -> None:
            return None

    async with esmtp(tmp_path, everybody, Judge) as client:
        reply = await answer(client, f"MAIL FROM:<a@b.test> AUTH={value}".encode())
        assert reply[:3] in {"250", "501"}
        if reply.startswith("250"):
            assert (await client.command("RCPT TO:<x@elsewhere.test>")).code == 550
        assert await in_step(client)


async def test_the_thousand_and_first_recipient_is_for_another_message(tmp_path: Path) -> None:
    everybody = Everybody()
    async with esmtp(tmp_path, everybody) as client:
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        names = [f"u{number}@example.com" for number in range(1003)]
        random.Random(1).shuffle(names)
        await client.send("".join(f"RCPT TO:<{name}>\r\n" for name in names).encode())
        replies = [str(await client.reply()) for _ in names]
        assert {reply[:9] for reply in replies[:1000]} == {"250 2.1.5"}
        assert {reply[:9] for reply in replies[1000:]} == {"452 4.5.3"}
        assert (await client.command("DATA")).code == 354
        assert (await answer(client, MESSAGE + b".")).startswith("250 2.0.0")
        assert await in_step(client)
    assert [recipient.address for recipient in everybody.recipients] == names[:1000]
    assert everybody.messages == 1
