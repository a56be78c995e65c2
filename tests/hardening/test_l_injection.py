"""What strangers say never becomes a line of the log or a header field, nor a command to a terminal."""

import string
from pathlib import Path

import pytest

from harakapy import OK, Connection, ListenSettings, Plugin, Verdict, hookimpl
from harakapy.testing import Client, connect
from tests.inbound.scene import Accept

from .scene import logged

NASTY = {
    "line ends": "a\r\nX-Forged: 1",
    "escape": "a\x1b[31mred",
    "quote": 'a" forged="1',
    "percent": "%s%n%(x)s{x}",
    "long": "x" * 10_000,
    "bell": "a\x07\x08b",
    "eight bits": "a\x9b31mb\u202e\u2028c",
    "nul": "a\0b",
}


class Named(Plugin):
    """Finds a name for the client's address that its owner has chosen."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host

    @hookimpl
    def hook_lookup_rdns(self) -> Verdict:
        return OK(self.host)


def checked_log(folder: Path) -> bytes:
    """The log, after it has been seen that there is nothing in it that is not printable."""
    log = (folder / "log").read_bytes()
    assert not set(log) - set(string.printable.encode()), sorted(set(log) - set(string.printable.encode()))
    assert not set(b"\r\x0b\x0c") & set(log)
    for line in log.splitlines():
        assert not line.startswith(b"X-Forged")
        assert len(line) < 20_000
    return log


@pytest.mark.parametrize("form", ["text", "logfmt", "json"])
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
async def test_nothing_said_becomes_a_line_of_its_own(text: str, form: str, tmp_path: Path) -> None:
    accept = Accept()
    with logged(tmp_path, Named(text), accept, log={"format": form}, smtp={"max_errors": 1000}) as server:
        async with server.running(), connect(server) as client:
            await client.reply()
            for line in (f"EHLO {text}", "EHLO client.test", f"XYZ {text}", f"VRFY {text}", f"HELP {text}"):
                await _any_replies(client, line)
            for line in (
                f"MAIL FROM:<{text}@x.test>",
                f"RCPT TO:<{text}@example.com>",
                f'MAIL FROM:<"{text}"@x.test>',
            ):
                await _any_replies(client, line)
            await client.command("RSET")
            header = (
                f"Message-ID: <{text}@x.test>\r\nSubject: {text}\r\nFrom: {text} <a@b.test>\r\n\r\nbody\r\n"
            )
            content = header.encode().replace(b"\0", b"")
            await client.hand_over("a@client.test", ["b@example.com"], content)
    log = checked_log(tmp_path)
    assert (
        b"forged=" not in log.replace(b'\\"', b"").replace(b'\\\\"', b"")
        or form == "text"
        or b'\\" forged' in log
    )
    for message in accept.messages:
        trace = message[: -len(content)]
        assert b"X-Forged" not in trace
        assert all(line.startswith((b"Received: ", b"\t")) for line in trace.splitlines())
        assert trace.isascii()
        assert not set(trace) - set(string.printable.encode())


async def _any_replies(client: Client, line: str) -> None:
    """Send a line that may be several, or none that is whole; whatever is answered is printable."""
    await client.send(line.encode() + b"\r\nNOOP mark\r\n")
    while (reply := await client.reply()) is not None:
        text = "".join(reply.lines)
        assert text.isprintable(), text
        if reply.code == 250 and text == "OK":
            return
    raise AssertionError("the session ended")


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
async def test_a_name_from_dns_is_safe_in_the_received_field(text: str, tmp_path: Path) -> None:
    accept = Accept()
    with logged(tmp_path, Named(f"{text}.test"), accept) as server:
        async with server.running(), connect(server) as client:
            await client.reply()
            reply = await client.command("EHLO client.test")
            assert all(line.isprintable() for line in reply.lines)
            assert max(map(len, reply.lines)) <= 512
            await client.hand_over("a@client.test", ["b@example.com"], b"Subject: x\r\n\r\n")
    [message] = accept.messages
    trace = message.removesuffix(b"Subject: x\r\n\r\n")
    assert all(line.startswith((b"Received: ", b"\t")) for line in trace.splitlines())
    assert not set(trace) - set(string.printable.encode())
    assert max(map(len, trace.splitlines())) <= 998
    checked_log(tmp_path)


class AcceptAll(Accept):
    """Takes what users send, too."""

    @hookimpl
    def hook_queue_outbound(self, connection: Connection) -> Verdict:
        return self.hook_queue(connection)


SAID = ["a\r\nX-Forged: 1", "a\x1b[31m", 'a" forged="1', "%s%n", "x" * 400, "a\x9b31m\u202e", "a\0b"]


@pytest.mark.parametrize("attribute", ["NAME", "ADDR", "HELO", "LOGIN", "PORT"])
@pytest.mark.parametrize("text", SAID, ids=ascii)
async def test_what_a_trusted_client_says_of_another_is_safe_too(
    text: str, attribute: str, tmp_path: Path
) -> None:
    accept = AcceptAll()
    trusting = ListenSettings(address="127.0.0.1:25", xclient=["192.0.2.1"])
    with logged(tmp_path, accept) as server:
        async with server.running(), connect(server, listen=trusting) as client:
            await client.reply()
            await client.command("EHLO client.test")
            hexed = "".join(f"+{octet:02X}" for octet in text.encode())
            reply = await client.command(f"XCLIENT {attribute}={hexed}")
            assert all(line.isprintable() for line in reply.lines)
            assert (await client.command("EHLO client.test")).code == 250
            await client.hand_over("a@client.test", ["b@example.com"], b"Subject: x\r\n\r\n")
    assert len(accept.messages) == 1
    for message in accept.messages:
        trace = message.removesuffix(b"Subject: x\r\n\r\n")
        assert all(line.startswith((b"Received: ", b"\t")) for line in trace.splitlines())
        assert not set(trace) - set(string.printable.encode())
    checked_log(tmp_path)


async def test_a_plugins_reply_cannot_break_out_of_its_line(tmp_path: Path) -> None:
    class Echo(Plugin):
        @hookimpl
        def hook_unrecognized_command(self, argument: str) -> Verdict:
            return OK(f"you said {argument}\r\n550 gone\x1b[31m")

    with logged(tmp_path, Echo) as server:
        async with server.running(), connect(server) as client:
            await client.reply()
            await client.command("EHLO client.test")
            reply = await client.command("XECHO hello")
            assert reply.code == 250
            assert "\x1b" not in "".join(reply.lines)
            assert (await client.command("NOOP")).code == 250
