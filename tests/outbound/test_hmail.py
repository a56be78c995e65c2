"""What plugins see of mail that goes out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from harakapy.mail import Content, Envelope
from harakapy.outbound import HMail
from harakapy.queue import DeliveryRequest, deliveries_to
from harakapy.smtp import Address
from tests.queue.samples import MINE, NOW, SMALL, message, recipient


async def opened(message_id: str) -> Content:
    return Content.from_bytes(message_id.encode() + b": x\r\n\r\n")


def request() -> DeliveryRequest:
    queued = replace(message("A1"), notes={"queue": {"wants": []}})
    people = [recipient("you@BÜCHER.example"), recipient("her@bücher.example")]
    deliveries = deliveries_to("A1", people, due=NOW, local_domain="example.net", lease=MINE)
    return DeliveryRequest(queued, deliveries)


async def test_an_attempt_is_for_some_recipients_of_one_domain() -> None:
    hmail = HMail.of(request(), opened)
    assert hmail.uuid == "A1"
    assert hmail.domain == "xn--bcher-kva.example"
    assert (hmail.attempts, hmail.queued_at) == (1, NOW)
    assert str(hmail.mail_from) == "sender@example.com"
    assert [each.user for each in hmail.rcpt_to] == ["you", "her"]
    assert set(hmail.rcpt_params) == set(hmail.rcpt_to)


async def test_content_that_is_stored_is_opened_when_it_is_read() -> None:
    hmail = HMail.of(request(), opened)
    with pytest.raises(RuntimeError, match="open_content"):
        _ = hmail.header
    with await hmail.open_content() as content:
        assert content.header.get("A1") == "x"


async def test_content_that_is_not_stored_yet_can_be_changed() -> None:
    people = (recipient("you@example.com"),)
    content = Content.from_bytes(SMALL)
    hmail = HMail("A1", Envelope(Address.parse("me@example.org"), people), content=content)
    hmail.header.add("X-Ours", "yes")
    assert b"X-Ours: yes" in b"".join(content.blocks())
    assert (hmail.domain, hmail.attempts) == ("", 0)
    with pytest.raises(RuntimeError, match="not stored yet"):
        await hmail.open_content()


async def test_notes_of_an_attempt_are_its_own() -> None:
    both = request()
    one, other = HMail.of(both, opened), HMail.of(both, opened)
    one.notes["queue"]["wants"].append("lmtp")
    one.notes["seen"] = True
    assert other.notes == {"queue": {"wants": []}}
    assert both.message.notes == {"queue": {"wants": []}}
