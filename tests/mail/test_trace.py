"""Trace fields: the clauses of RFC 5321 4.4, and nothing that a stranger put between them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.mail.field import HeaderField, check_formatted
from harakapy.mail.header import Header
from harakapy.mail.trace import (
    count_received,
    date_field,
    date_time,
    message_id_field,
    received_field,
    return_path_field,
    with_protocol,
)
from harakapy.smtp.address import NULL_PATH, Address

NOW = datetime(2026, 11, 2, 9, 5, 7, 999, tzinfo=UTC)

HOSTILE = [
    "evil\r\nBcc: victim@example.com",
    "\x1b[31m",
    'a"b',
    "%s%n",
    "x" * 10_000,
    "a) by forged.example (b",
    "a; Sun, 1 Jan 2006 00:00:00 +0000",
    "bücher.example",
    "\udcff\x9b\u2028",
    "",
    " ",
]


def received(
    hello: str = "c.example", host: str = "rdns.example", ip: str = "192.0.2.1", name: str = "T.1"
) -> bytes:
    return received_field(
        hello=hello,
        remote_host=host,
        remote_ip=ip,
        by="mx.example.org",
        protocol="ESMTP",
        transaction=name,
        when=NOW,
    )


def test_a_received_field_has_all_its_clauses() -> None:
    field = received_field(
        hello="client.example",
        remote_host="rdns.example",
        remote_ip="2001:db8::1",
        by="mx.example.org",
        protocol="ESMTPSA",
        transaction="0A1B2C.1",
        when=NOW,
        software="harakapy/0.1",
        recipient=Address.parse('"a b"@example.org'),
        cipher="TLS_AES_256_GCM_SHA384",
    )
    assert field == (
        b"Received: from client.example (rdns.example [IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.org (harakapy/0.1) with ESMTPSA id 0A1B2C.1\r\n"
        b'\tfor <"a b"@example.org>\r\n'
        b"\ttls TLS_AES_256_GCM_SHA384;\r\n"
        b"\tMon, 02 Nov 2026 09:05:07 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("host", "ip", "info"),
    [
        ("rdns.example", "192.0.2.1", b"c.example (rdns.example [192.0.2.1])\r\n"),
        ("", "192.0.2.1", b"c.example ([192.0.2.1])\r\n"),
        ("", "fe80::1%eth0", b"c.example ([IPv6:fe80::1])\r\n"),
        ("localhost", "", b"c.example (localhost)\r\n"),
        ("", "", b"c.example\r\n"),
    ],
)
def test_what_is_not_known_of_the_client_is_left_out(host: str, ip: str, info: bytes) -> None:
    assert received(host=host, ip=ip).startswith(b"Received: from " + info)


@pytest.mark.parametrize(("protocol", "shown"), [("ESMTP", False), ("UTF8SMTPS", True)])
def test_a_recipient_outside_ascii_is_shown_in_utf8_messages_only(protocol: str, shown: bool) -> None:
    recipient = Address.parse("jörg@example.org")
    field = received_field(
        hello="c.example",
        remote_host="",
        remote_ip="192.0.2.1",
        by="mx.example.org",
        protocol=protocol,
        transaction="T.1",
        when=NOW,
        recipient=recipient,
    )
    assert ("for <jörg@example.org>".encode() in field) is shown


@pytest.mark.parametrize("text", HOSTILE)
def test_strangers_cannot_forge_clauses(text: str) -> None:
    field = received(hello=text, host=text, name=text)
    check_formatted(field)
    lines = field.decode("ascii").split("\r\n")
    token = r"[A-Za-z0-9._:/+=?\[\]-]{1,255}"
    assert re.fullmatch(rf"Received: from {token} \(({token} )?\[192\.0\.2\.1\]\)", lines[0])
    assert re.fullmatch(rf"\tby mx\.example\.org with ESMTP id {token};", lines[1])
    assert lines[2:] == ["\tMon, 02 Nov 2026 09:05:07 +0000", ""]
    assert all(len(line) <= 998 for line in lines)


@given(st.text(), st.text(), st.text(), st.text())
@example(*["x" * 10_000] * 4)
def test_received_fields_are_one_field_of_short_ascii_lines(
    hello: str, host: str, ip: str, name: str
) -> None:
    field = received(hello, host, ip, name)
    check_formatted(field)
    assert field.isascii()
    assert len(Header(field)) == 1
    assert HeaderField.from_raw(field).text.count(";") == 1
    assert all(len(line) <= 998 for line in field.split(b"\r\n"))


@pytest.mark.parametrize(
    ("is_esmtp", "is_tls", "is_authenticated", "is_utf8", "name"),
    [
        (False, False, False, False, "SMTP"),
        (False, True, False, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, True, False, False, "ESMTPS"),
        (True, False, True, False, "ESMTPA"),
        (True, True, True, False, "ESMTPSA"),
        (True, False, False, True, "UTF8SMTP"),
        (True, True, False, True, "UTF8SMTPS"),
        (True, False, True, True, "UTF8SMTPA"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_protocols_have_their_registered_names(
    is_esmtp: bool, is_tls: bool, is_authenticated: bool, is_utf8: bool, name: str
) -> None:
    assert name == with_protocol(
        is_esmtp=is_esmtp, is_tls=is_tls, is_authenticated=is_authenticated, is_utf8=is_utf8
    )


def test_return_path_shows_the_sender_as_received() -> None:
    assert return_path_field(Address.parse("A.b@Example.ORG")) == b"Return-Path: <A.b@Example.ORG>\r\n"
    assert (
        return_path_field(Address.parse('"a\\ b"@example.org')) == b'Return-Path: <"a\\ b"@example.org>\r\n'
    )
    assert return_path_field(NULL_PATH) == b"Return-Path: <>\r\n"


def test_fields_that_submission_adds() -> None:
    assert date_field(NOW) == b"Date: Mon, 02 Nov 2026 09:05:07 +0000\r\n"
    assert message_id_field("0A1B.1", "mx.example.org") == b"Message-ID: <0A1B.1@mx.example.org>\r\n"
    assert message_id_field("a>\r\nb", "") == b"Message-ID: <a???b@unknown>\r\n"


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 1),
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_times_are_read_back(when: datetime) -> None:
    assert parsedate_to_datetime(date_time(when)) == when.replace(microsecond=0)
    assert date_time(when) == format_datetime(when)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        date_field(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("header", "count"),
    [
        (b"", 0),
        (b"Received: a\r\n", 1),
        (b"received:a\r\nRECEIVED :b\r\nrEcEiVeD\t: c\r\n", 3),
        (b"Received-SPF: a\r\nX-Received: b\r\nReceivedx: c\r\n", 0),
        (b"Subject: x\r\n Received: folded\r\nSubject: Received: y\r\n", 0),
        (b"Received: a\r\n" * 51, 51),
    ],
)
def test_received_fields_are_counted(header: bytes, count: int) -> None:
    assert count_received(header) == count


@given(st.lists(st.sampled_from([b"Received:", b"received", b" ", b":", b"\t", b"\r\n", b"\r", b"\n", b"x"])))
def test_counting_finds_what_parsing_finds(pieces: list[bytes]) -> None:
    header = b"".join(pieces)
    assert count_received(header) == len(Header(header).get_all("Received"))
