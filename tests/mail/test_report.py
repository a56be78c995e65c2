from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harakapy.mail import Content, EnhancedStatus, Recipient
from harakapy.mail.report import Action, Fate, Report, compose
from harakapy.mail.report_text import PLACEHOLDERS, ReportText
from harakapy.mail.returned import MAX_HEADER, Returned, give_back
from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.parameters import Body, OriginalRecipient, RcptParameters

THEN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ORIGINAL = b"From: a@client.test\r\nSubject: lunch\r\nMessage-ID: <1@client.test>\r\n\r\nAt noon?\r\n"
FAILED = Fate(
    recipient=Recipient(Address.parse("user@example.org")),
    action=Action.FAILED,
    status=EnhancedStatus(5, 1, 1),
    text="550 5.1.1 no such user",
    is_reply=True,
    host="mx.example.org[192.0.2.1]",
    last_attempt=THEN,
)


def report(
    *fates: Fate, to: str = "sender@example.com", original: bytes = ORIGINAL, utf8: bool = False
) -> Report:
    address = Address.parse(to)
    return Report(
        id="R1.1",
        to=address,
        sender=address,
        hostname="mail.example.net",
        from_address=Address.parse("MAILER-DAEMON@mail.example.net"),
        when=THEN,
        fates=fates or (FAILED,),
        arrived=THEN,
        message_id="M1.1",
        envid="env=1",
        returned=give_back(Content.from_bytes(original), max_octets=50_000, is_utf8_allowed=utf8),
        is_utf8_allowed=utf8,
    )  # fmt: skip


def read(octets: bytes) -> EmailMessage:
    """The report as the standard library sees it, which must have nothing to complain about."""
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == []
        for value in part.values():
            assert not value.defects
    return message


def parts(message: EmailMessage) -> tuple[str, list[dict[str, str]], EmailMessage | None]:
    """The text, the groups of fields of the status, and what was given back."""
    text, status, *returned = message.iter_parts()
    assert isinstance(text, EmailMessage)
    groups = [dict(group.items()) for group in status.get_payload()]  # type: ignore[union-attr]  # messages
    return text.get_content().replace("\r\n", "\n"), groups, returned[0] if returned else None  # type: ignore[return-value]


def test_a_failure_is_told_to_people_and_to_programs() -> None:
    message = read(compose(report()))
    assert message["To"] == "sender@example.com"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.net>"
    assert message["Subject"] == "Your message could not be delivered"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<1@client.test>"
    assert message["Message-ID"] == "<R1.1@mail.example.net>"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, groups, original = parts(message)
    assert (
        "Not delivered:\n  <user@example.org>\n"
        "      mx.example.org[192.0.2.1] answered: 550 5.1.1 no such user\n"
        "      That means: no such mailbox (5.1.1).\n"
    ) in text
    assert groups == [
        {
            "Original-Envelope-Id": "env=1",
            "Reporting-MTA": "dns; mail.example.net",
            "X-Harakapy-Message": "M1.1",
            "Arrival-Date": "Sun, 22 Nov 2026 10:00:00 +0000",
        },
        {
            "Final-Recipient": "rfc822; user@example.org",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx.example.org ([192.0.2.1])",
            "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
            "Last-Attempt-Date": "Sun, 22 Nov 2026 10:00:00 +0000",
        },
    ]
    assert original is not None
    assert original.get_content_type() == "message/rfc822"
    assert ORIGINAL in compose(report())


def test_one_report_tells_of_all_recipients() -> None:
    fates = [
        replace(FAILED, recipient=Recipient(Address.parse("late@example.org")), action=Action.DELAYED,
                status=EnhancedStatus(4, 4, 1), text="connection refused", is_reply=False, retry_until=THEN),
        replace(FAILED, recipient=Recipient(Address.parse("gone@example.org")), action=Action.RELAYED,
                status=None, text="250 ok"),
        replace(FAILED, recipient=Recipient(Address.parse("in@example.org")), action=Action.DELIVERED,
                status=EnhancedStatus(2, 1, 5), text="250 2.1.5 ok", host="/run/lmtp.sock"),
        FAILED,
    ]  # fmt: skip
    text, groups, _ = parts(read(compose(report(*fates))))
    assert [group["Action"] for group in groups[1:]] == ["delayed", "relayed", "delivered", "failed"]
    assert [group["Status"] for group in groups[1:]] == ["4.4.1", "2.0.0", "2.1.5", "5.1.1"]
    assert groups[1]["Diagnostic-Code"] == "x-harakapy; connection refused"
    assert groups[1]["Will-Retry-Until"] == "Sun, 22 Nov 2026 10:00:00 +0000"
    assert groups[3]["Remote-MTA"] == "x-unix; /run/lmtp.sock"
    headings = [
        line
        for line in text.split("\n")
        if line.endswith("delivered:") or line in ("Passed on:", "Delivered:")
    ]
    assert headings == ["Not delivered:", "Passed on:", "Delivered:"]
    assert "It is tried until Sun, 22 Nov 2026 10:00:00 +0000." in text


@pytest.mark.parametrize(
    ("action", "status", "told"),
    [
        (Action.FAILED, EnhancedStatus(4, 4, 7), "4.4.7"),
        (Action.FAILED, EnhancedStatus(2, 0, 0), "5.0.0"),
        (Action.FAILED, None, "5.0.0"),
        (Action.DELAYED, EnhancedStatus(5, 1, 1), "4.0.0"),
        (Action.RELAYED, EnhancedStatus(4, 0, 0), "2.0.0"),
    ],
)
def test_the_status_never_contradicts_the_action(
    action: Action, status: EnhancedStatus | None, told: str
) -> None:
    _, groups, _ = parts(read(compose(report(replace(FAILED, action=action, status=status)))))
    assert groups[1]["Status"] == told


def test_the_recipient_is_named_as_the_sender_knew_it() -> None:
    known = RcptParameters(orcpt=OriginalRecipient("rfc822", "Team+a=b@example.com"))
    recipient = Recipient(Address.parse("user@example.org"), known)
    _, groups, _ = parts(read(compose(report(replace(FAILED, recipient=recipient)))))
    assert groups[1]["Original-Recipient"] == "rfc822; Team+a=b@example.com"


HOSTILE = "550 no\r\nAction: delivered\r\n\r\n--=_R1.1_0\x00\x1b[31m\u2028Bcc: x\x85\udc80 " + "y" * 3000


@pytest.mark.parametrize("utf8", [False, True])
def test_what_hosts_say_begins_no_field_and_no_part(utf8: bool) -> None:
    fate = replace(FAILED, text=HOSTILE, host="mx\r\nX: y[1\r\n2]")
    octets = compose(report(fate, utf8=utf8))
    assert b"\x00" not in octets
    assert b"\x1b" not in octets
    _, groups, original = parts(read(octets))
    assert len(groups) == 2
    assert groups[1]["Action"] == "failed"
    assert "X" not in groups[1]
    assert groups[1]["Diagnostic-Code"].startswith(r"smtp; 550 no\x0d\x0aAction: delivered\x0d\x0a")
    assert original is not None


def test_a_hostile_header_of_the_message_stays_in_it() -> None:
    header = b"Subject: =?utf-8?q?a=0D=0ABcc:_x?=\r\nMessage-ID: <x@y>\x0b<z>\r\nX: bare\rcr\nlf\r\n"
    original = header + b"\r\n--=_R1.1_0--\r\n"
    text = ReportText.parse("Subject: About $original_subject\n\n$recipients $$")
    message = read_outer(compose(report(original=original), text))
    assert message["Subject"] == r"About a\x0d\x0aBcc: x"
    assert "Bcc" not in message
    assert "In-Reply-To" not in message
    assert message.get_boundary() == "=_R1.1_1"
    assert len(list(message.iter_parts())) == 3


def read_outer(octets: bytes) -> EmailMessage:
    """As `read`, for reports that hold a message that is not well formed itself."""
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


@pytest.mark.parametrize(
    ("original", "utf8", "kind", "is_ascii"),
    [
        ("Subject: x\r\n\r\nGrüße aus der Ferne\r\n", False, "message/rfc822", True),
        ("Subject: x\r\n\r\nGrüße aus der Ferne\r\n", True, "message/rfc822", True),
        ("Subject: Grüße\r\n\r\nbody\r\n", False, "text/rfc822-headers", True),
        ("Subject: Grüße\r\n\r\nbody\r\n", True, "message/global", False),
    ],
)  # fmt: skip
def test_a_message_with_eight_bits_goes_back_as_the_sender_can_take_it(
    original: str, utf8: bool, kind: str, is_ascii: bool
) -> None:
    octets = compose(report(original=original.encode(), utf8=utf8))
    assert octets.isascii() is is_ascii
    message = read_outer(octets)
    assert message["Content-Transfer-Encoding"] == ("7bit" if is_ascii else "8bit")
    *_, returned = message.iter_parts()
    assert returned.get_content_type() == kind
    if kind == "text/rfc822-headers":
        assert returned.get_payload(decode=True) == "Subject: Grüße\r\n".encode()


def test_a_report_in_utf8_names_addresses_as_they_are() -> None:
    recipient = Recipient(Address.parse("büro@exämple.org"))
    octets = compose(report(replace(FAILED, recipient=recipient), to="süd@example.com", utf8=True))
    assert b"Content-Type: message/global-delivery-status\r\n" in octets
    assert "Final-Recipient: utf-8; büro@exämple.org\r\n".encode() in octets
    assert "To: <süd@example.com>\r\n".encode() in octets


def test_a_report_in_ascii_writes_such_addresses_out() -> None:
    recipient = Recipient(Address.parse("büro@exämple.org"))
    octets = compose(report(replace(FAILED, recipient=recipient)))
    assert octets.isascii()
    _, groups, _ = parts(read(octets))
    assert groups[1]["Final-Recipient"] == r"utf-8; b\x{FC}ro@ex\x{E4}mple.org"


def test_large_messages_go_back_as_their_header() -> None:
    content = Content.from_bytes(ORIGINAL)
    assert give_back(content, max_octets=len(ORIGINAL)).media_type == "message/rfc822"
    returned = give_back(content, max_octets=len(ORIGINAL) - 1)
    assert returned.media_type == "text/rfc822-headers"
    assert returned.octets == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_an_endless_header_is_cut_at_the_end_of_a_line() -> None:
    line = b"X-Long: " + b"y" * 90 + b"\r\n"
    returned = give_back(Content.from_bytes(line * 1000 + b"\r\n"), max_octets=0)
    assert returned.octets == line * (MAX_HEADER // len(line))
    assert (
        len(give_back(Content.from_bytes(b"X:" + b"y" * 100_000), max_octets=0).header.to_bytes())
        == MAX_HEADER
    )


@pytest.mark.parametrize("octets", [bytes(range(256)), b"bare\nand \x00"], ids=["any", "ascii"])
def test_binary_content_is_encoded_on_the_way_back(octets: bytes) -> None:
    original = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets
    returned = give_back(Content.from_bytes(original), max_octets=5000, body=Body.BINARYMIME)
    assert returned.octets.isascii()
    assert b"Content-Transfer-Encoding: base64" in returned.octets


def test_a_report_without_the_message_has_two_parts() -> None:
    message = read(compose(replace(report(), returned=Returned())))
    assert len(list(message.iter_parts())) == 2


def test_a_report_for_the_postmaster_says_so() -> None:
    message = read(compose(replace(report(), sender=NULL_PATH)))
    assert message["Subject"] == "A message that has no sender could not be delivered"
    assert "Nobody but you is told." in parts(message)[0]


def test_a_report_is_about_somebody() -> None:
    with pytest.raises(ValueError):
        compose(replace(report(), fates=()))


def test_a_name_with_special_characters_is_quoted() -> None:
    message = read(compose(replace(report(), from_name='Mail, "us" & Co.')))
    assert message["From"].addresses[0].display_name == 'Mail, "us" & Co.'
    message = read(compose(replace(report(), from_name="Zustellung für alle")))
    assert message["From"].addresses[0].display_name == "Zustellung für alle"


def test_an_operator_writes_the_text() -> None:
    text = ReportText.parse("Subject: Zurück: $subject\n\nGuten Tag, $sender!\n$recipients\n" + "ö" * 500)
    message = read(compose(report(), text))
    assert message["Subject"] == "Zurück: Your message could not be delivered"
    assert compose(report(), text).isascii()
    assert parts(message)[0].startswith("Guten Tag, sender@example.com!\nNot delivered:\n")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("no subject", "begins with a line"),
        ("Subject: x\nX: y\n\ntext", "begins with a line"),
        ("Subject: x\n\n \n", "begins with a line"),
        ("Subject: x\n\ncosts 5 $", "begins no placeholder"),
        ("Subject: $subjekt\n\ntext", "$subjekt, which is none of subject, summary"),
    ],
)
def test_a_wrong_template_is_told_what_is_wrong(template: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        ReportText.parse(template)
    assert problem in str(caught.value)


def test_every_placeholder_can_be_used() -> None:
    everything = "\n".join(f"{name}=${name}" for name in PLACEHOLDERS)
    assert (
        "original_subject=lunch"
        in parts(read(compose(report(), ReportText.parse(f"Subject: x\n\n{everything}"))))[0]
    )


def fates() -> st.SearchStrategy[Fate]:
    addresses = st.sampled_from(["a@example.org", '"q;u, o"@example.org', "ü@example.org", "x@[192.0.2.1]"])
    known = st.none() | st.builds(
        OriginalRecipient,
        st.sampled_from(["utf-8", "x400"]),
        st.from_regex(r"[!-~]([ -~]{0,400}[!-~])?", fullmatch=True),
    )
    recipients = st.builds(
        lambda address, orcpt: Recipient(Address.parse(address), RcptParameters(orcpt=orcpt)),
        addresses,
        known,
    )
    statuses = st.none() | st.builds(EnhancedStatus, st.just(5), st.integers(0, 9), st.just(0))
    return st.builds(
        Fate,
        recipient=recipients,
        action=st.sampled_from(Action),
        text=st.text(max_size=3000),
        host=st.text(),
        is_reply=st.booleans(),
        status=statuses,
    )


@given(told=st.lists(fates(), min_size=1, max_size=4), utf8=st.booleans())
def test_every_report_can_be_read(told: list[Fate], utf8: bool) -> None:
    octets = compose(report(*told, utf8=utf8))
    assert utf8 or octets.isascii()
    message = read_outer(octets)
    assert len(list(message.iter_parts())) == 3
    assert list(_actions(octets)) == [fate.action.value for fate in told]


def _actions(octets: bytes) -> Iterator[str]:
    status = octets.partition(b"delivery-status\r\n")[2].partition(b"\r\n--=_")[0]
    for line in status.split(b"\r\n"):
        if line.startswith(b"Action: "):
            yield line.partition(b": ")[2].decode()


@given(header=st.lists(st.binary(max_size=100)), body=st.binary(max_size=300), utf8=st.booleans(),
       kind=st.sampled_from(Body), limit=st.sampled_from([0, 10_000]))  # fmt: skip
def test_whatever_the_message_is_it_fits_into_the_report(
    header: list[bytes], body: bytes, utf8: bool, kind: Body, limit: int
) -> None:
    content = Content.from_bytes(b"".join(line + b"\r\n" for line in header) + b"\r\n" + body)
    returned = give_back(content, max_octets=limit, is_utf8_allowed=utf8, body=kind)
    octets = compose(replace(report(), returned=returned, is_utf8_allowed=utf8))
    assert utf8 or octets.isascii()
    assert len(list(read_outer(octets).iter_parts())) == 2 + bool(returned.octets)
