"""Capabilities: what is read from the answer to EHLO, whatever a server makes of it."""

from __future__ import annotations

import pytest

from harakapy.smtp import NO_CAPABILITIES, Capabilities, Reply

POSTFIX = [
    "mx.example.com", "PIPELINING", "SIZE 10240000", "VRFY", "ETRN", "STARTTLS", "AUTH PLAIN LOGIN",
    "AUTH=PLAIN LOGIN", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING",
]  # fmt: skip


def offered(*lines: str) -> Capabilities:
    return Capabilities.parse(["mx.example", *lines])


def test_an_answer_of_postfix_is_read() -> None:
    capabilities = Capabilities.parse(POSTFIX)
    assert capabilities == Capabilities(
        domain="mx.example.com",
        raw={
            "PIPELINING": "", "SIZE": "10240000", "VRFY": "", "ETRN": "", "STARTTLS": "",
            "AUTH": "PLAIN LOGIN", "ENHANCEDSTATUSCODES": "", "8BITMIME": "", "DSN": "", "SMTPUTF8": "",
            "CHUNKING": "",
        },
        pipelining=True, size=10_240_000, starttls=True, auth=frozenset({"PLAIN", "LOGIN"}), enhanced=True,
        eightbitmime=True, dsn=True, smtputf8=True, chunking=True,
    )  # fmt: skip


def test_case_does_not_matter() -> None:
    lower = Capabilities.parse([line.lower() for line in POSTFIX])
    assert lower.auth == {"PLAIN", "LOGIN"}
    assert lower.raw.keys() == Capabilities.parse(POSTFIX).raw.keys()
    assert lower.pipelining
    assert lower.offers("8bitMIME")


def test_nothing_is_offered_by_the_name_of_the_server() -> None:
    capabilities = Capabilities.parse(["PIPELINING ready", "SIZE"])
    assert capabilities.domain == "PIPELINING"
    assert not capabilities.pipelining
    assert not capabilities.offers("PIPELINING")


@pytest.mark.parametrize(
    ("line", "size"),
    [("SIZE 1000", 1000), ("SIZE", None), ("SIZE 0", None), ("SIZE big", None), ("SIZE -1", None),
     ("SIZE=1000", 1000), ("SIZE  1000 octets", 1000), ("SIZE " + "9" * 30, None), ("SIZE ١٢", None)],
)  # fmt: skip
def test_a_size_that_is_none_is_no_limit(line: str, size: int | None) -> None:
    assert offered(line).size == size
    assert offered(line).offers("SIZE")


def test_mechanisms_come_from_all_lines() -> None:
    assert offered("AUTH plain  LOGIN", "AUTH=CRAM-MD5", "AUTH").auth == {"PLAIN", "LOGIN", "CRAM-MD5"}
    assert offered("AUTH").auth == frozenset()
    assert offered("X-AUTH PLAIN").auth == frozenset()


def test_limits_are_read() -> None:  # RFC 9422 3
    capabilities = offered("LIMITS RCPTMAX=100 mailmax=20 RCPTDOMAINMAX=1 FOO=2 BAR")
    assert (capabilities.rcpt_max, capabilities.mail_max, capabilities.rcpt_domain_max) == (100, 20, 1)
    assert offered("LIMITS RCPTMAX=0 MAILMAX=x RCPTDOMAINMAX").rcpt_max is None
    assert offered("LIMITS").mail_max is None


@pytest.mark.parametrize(("line", "seconds"), [("DELIVERBY", 0), ("DELIVERBY 240", 240), ("DELIVERBY x", 0)])
def test_the_least_time_limit_is_read(line: str, seconds: int) -> None:
    assert offered(line).deliver_by == seconds
    assert offered("SIZE").deliver_by is None


def test_how_long_a_message_is_held_is_read() -> None:
    assert offered("FUTURERELEASE 864000 2030-01-01T00:00:00Z").future_release == 864_000
    assert offered().future_release is None


def test_flags_are_read() -> None:
    capabilities = offered("BINARYMIME", "CHUNKING", "REQUIRETLS", "MT-PRIORITY MIXER")
    assert (capabilities.binarymime, capabilities.chunking) == (True, True)
    assert (capabilities.requiretls, capabilities.mt_priority) == (True, True)


def test_binarymime_needs_chunking() -> None:
    assert not offered("BINARYMIME").binarymime


@pytest.mark.parametrize("line", ["", "?", "=", "-X", "+OK", "é", "  ", "PIPELINING?", "PIPELINING\u00e9"])
def test_a_line_that_is_no_keyword_is_left_out(line: str) -> None:
    assert offered(line, "DSN").raw == {"DSN": ""}


def test_the_first_of_two_lines_counts() -> None:
    assert offered("SIZE 1", "SIZE 2").size == 1


def test_an_answer_of_one_line_or_none_offers_nothing() -> None:
    assert Capabilities.parse(Reply(250, "mx.example hello").lines) == Capabilities(domain="mx.example")
    assert Capabilities.parse(Reply(250).lines) == NO_CAPABILITIES


def test_capabilities_are_values() -> None:
    assert Capabilities.parse(POSTFIX) == Capabilities.parse(POSTFIX)
    assert hash(Capabilities.parse(POSTFIX)) == hash(Capabilities.parse(POSTFIX))
    with pytest.raises(TypeError):
        Capabilities.parse(POSTFIX).raw["X"] = ""  # type: ignore[index]
