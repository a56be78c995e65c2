"""What is fuzzed: for each parser of what strangers send, a function that raises only if it has a defect.

A parser may refuse anything, with the one exception that it names; nothing else may come out of it. What it
takes must come back when it is written and read again, and must not depend on how the octets were cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise

from harakapy.mail import Header
from harakapy.net.proxy_protocol import ProxyHeaderError, ProxyParser
from harakapy.smtp import (
    NEED_DATA,
    Address,
    Capabilities,
    ClientProtocol,
    Closed,
    Data,
    DataDecoder,
    Dialect,
    Ehlo,
    LineRules,
    LocalProtocolError,
    Mail,
    Quit,
    Rcpt,
    RemoteProtocolError,
    Reply,
    ReplyParser,
    State,
    parse_command,
)
from harakapy.smtp.address import NULL_PATH, parse_forward_path, parse_reverse_path
from harakapy.smtp.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS
from harakapy.smtp.sasl import (
    MECHANISMS,
    Challenge,
    Failed,
    SaslSession,
    ScramDecoy,
    ScramSecret,
    SecretRequest,
    decode_initial_response,
    decode_response,
    start_exchange,
)
from harakapy.smtp.verbs import Lhlo
from tests.laws.test_smtp_server import OFFERED, USUAL, cut, serve, waits_of

Target = Callable[[bytes], None]

EXTENSIONS = frozenset({*OFFERED, "REQUIRETLS", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE", "XCLIENT"})
DECOY = ScramDecoy(b"0" * 32)
SECRET = ScramSecret.derive("password", salt=b"salt", iterations=4096)
MAIL = Mail(Address("a", "b.test"), NO_MAIL_PARAMETERS)
RCPT = Rcpt(Address("c", "d.test"), NO_RCPT_PARAMETERS)


def halves(data: bytes) -> list[list[bytes]]:
    """The octets whole, one by one, and cut in three places that they say themselves."""
    edges = sorted({0, len(data), *(octet * len(data) // 256 for octet in data[:3])})
    return [[data], [bytes([octet]) for octet in data], [data[a:b] for a, b in pairwise(edges)]]


def command(data: bytes) -> None:
    """A line of a client: its first octet says whether the transaction is in UTF-8 and what was offered."""
    flags, line = data[0] if data else 0, data[1:].replace(b"\r\n", b" ")
    offered = EXTENSIONS if flags & 2 else frozenset()
    try:
        parsed = parse_command(line, extensions=offered, utf8_allowed=bool(flags & 1))
    except RemoteProtocolError as error:
        _assert_refusal(error)
        return
    written = parsed.to_bytes()
    assert b"\r" not in written
    assert b"\n" not in written
    assert parse_command(written, extensions=offered, utf8_allowed=bool(flags & 1)) == parsed


def address(data: bytes) -> None:
    """What stands behind FROM: and TO:."""
    for utf8 in (False, True):
        for parse in (parse_reverse_path, parse_forward_path):
            try:
                parsed = parse(data, utf8=utf8)
            except RemoteProtocolError as error:
                _assert_refusal(error)
                continue
            assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, str(parsed)))
            assert len(parsed.user.encode()) <= 64
            if parsed is not NULL_PATH and parsed.host:
                assert Address.parse(parsed.address) == parsed
                assert parse(parsed.path.encode(), utf8=True) == parsed


def chunks(data: bytes) -> None:
    """A transaction and then anything, commands, content and chunks: the same at any cut."""
    sent = USUAL + data
    whole = serve(cut(sent, waits_of(sent)))
    for pieces in halves(sent):
        edges = [sum(map(len, pieces[:number])) for number in range(len(pieces))]
        assert serve(cut(sent, waits_of(sent) + edges)) == whole


def content(data: bytes) -> None:
    """Content and its end: the same at any cut; repaired content has no bare CR or LF."""
    outcomes = []
    for pieces in halves(data):
        decoder, strict, mild = DataDecoder(), LineRules(max_line_octets=50), LineRules(normalise=True)
        block, rest, repaired = b"", b"", b""
        for piece in pieces:
            if decoder.finished:
                rest += piece
                continue
            decoded, position = decoder.receive(piece)
            block += decoded
            strict.feed(decoded)
            repaired += mild.feed(decoded)
            rest += piece[position:]
        strict.finish()
        repaired += mild.finish()
        flags = (strict.has_bare_cr, strict.has_bare_lf, strict.has_nul, strict.has_long_line)
        outcomes.append((block, repaired, flags, decoder.finished and rest))
        assert not {0x0D, 0x0A} & set(repaired.replace(b"\r\n", b""))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def proxy(data: bytes) -> None:
    """A PROXY header, of either version, and what follows."""
    assert len({repr(_proxied(pieces)) for pieces in halves(data)}) == 1
    for signature in (b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"):
        _proxied([signature + data])


def _proxied(pieces: list[bytes]) -> object:
    parser = ProxyParser()
    for number, piece in enumerate(pieces):
        try:
            header = parser.feed(piece)
        except ProxyHeaderError:
            return "refused"
        if header is not None:
            assert header.source is None or header.source.host.isascii()
            return header, parser.rest + b"".join(pieces[number + 1 :])
    return None


def reply(data: bytes) -> None:
    """What a server answers to a client: bounded, printable, and the same at any cut."""
    outcomes = [_replies(pieces) for pieces in halves(data)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    for each in outcomes[0]:
        if each is not None:
            assert each.encode().isascii()
            assert str(each).replace("\n", "").isprintable() or not each.text.isprintable()


def _replies(pieces: list[bytes]) -> list[Reply | None]:
    parser, found = ReplyParser(), list[Reply | None]()
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while (one := parser.next_reply()) is not None:
                found.append(one)
    except RemoteProtocolError:
        found.append(None)
    return found


def client(data: bytes) -> None:
    """A server that says anything to a client that wants to hand over a message."""
    for dialect in Dialect:
        for pieces in halves(data):
            with suppress(RemoteProtocolError):
                _hand_over(ClientProtocol(dialect), dialect, iter(pieces))


def _hand_over(protocol: ClientProtocol, dialect: Dialect, pieces: Iterator[bytes]) -> None:
    hello = Ehlo("client.test") if dialect is Dialect.SMTP else Lhlo("client.test")
    script = [hello, MAIL, RCPT, Data(), Quit()]
    for step in range(1000):
        event = protocol.next_event()
        if isinstance(event, Closed):
            return
        if event is not NEED_DATA:
            str(event)
            continue
        with suppress(LocalProtocolError):  # what may not come now; the table is tested elsewhere
            protocol.send(script[step % len(script)])
        if protocol.state is State.DATA:
            with suppress(LocalProtocolError):
                protocol.send_content(b"body\r\n")
                protocol.end_content()
        protocol.data_to_send()
        protocol.receive_data(next(pieces, b""))
    raise AssertionError("the session does not end")


def capabilities(data: bytes) -> None:
    """The lines of an answer to EHLO."""
    found = Capabilities.parse(data.decode("utf-8", "backslashreplace").split("\n"))
    assert found.size is None or found.size >= 0


def sasl(data: bytes) -> None:
    """The first octet chooses a mechanism; each line is what the client sends in it."""
    name = MECHANISMS[data[0] % len(MECHANISMS)] if data else "PLAIN"
    session = SaslSession("mx.test", MECHANISMS, DECOY, {"tls-exporter": (b"binding",)}, ("a@b.test",))
    mechanism = start_exchange(name, session)
    assert mechanism is not None
    lines = data[1:].split(b"\n")
    first = decode_initial_response(lines[0] or None)
    step = first if isinstance(first, Failed) else mechanism.step(first)
    for line in lines[1:50]:
        if isinstance(step, SecretRequest):
            step = mechanism.supply(SECRET if len(line) % 2 else None)
        elif isinstance(step, Challenge):
            response = decode_response(line)
            step = response if isinstance(response, Failed) else mechanism.step(response)
        else:
            break
    if isinstance(step, Failed):
        assert step.reply.code in (500, 501, 535)


def header(data: bytes) -> None:
    """A header as it was received: read in every way, and given back as it was."""
    found = Header(data)
    for name in ("From", "Subject", "Received", "", "a b"):
        for value in (found.get(name), found.get_decoded(name)):
            assert value is None or not {"\r", "\n", "\0"} & set(value)
        found.get_all(name)
        found.get_addresses(name)
    assert found.to_bytes() == data
    assert found.defects >= 0


def _assert_refusal(error: RemoteProtocolError) -> None:
    assert 500 <= error.reply.code < 560
    assert str(error.reply).isprintable()


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (command, address, chunks, content, proxy, reply, client, capabilities, sasl, header)
}
