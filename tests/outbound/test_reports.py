from __future__ import annotations

import email
import email.policy
import io
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from msgspec.structs import replace

from harakapy.config.outbound import ReportSettings
from harakapy.log import Level, StreamTarget, open_logger, silent_logger
from harakapy.mail import Content, Envelope, Recipient
from harakapy.mail.report import Action
from harakapy.outbound.report_terms import ReportTerms
from harakapy.outbound.reports import BATCH, LEASE_S, PAUSE_S, TURNS_S, Reporter, wants
from harakapy.queue import (
    Deferred,
    Delivered,
    Delivery,
    Diagnostic,
    Failed,
    Lease,
    QueuedMessage,
    Selection,
    Settlement,
    SqliteStore,
    Store,
    StoreFull,
    deliveries_to,
)
from harakapy.queue.memory_store import MemoryStore
from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.parameters import MailParameters, Notify, RcptParameters, Ret
from tests.queue.samples import LARGE, LATER, NEVER, NOW, OK, SMALL

LEASE = Lease("scheduler", NOW + 600)
DUE = NOW + 10
EVERYTHING = Selection()


class Desk:
    """A reporter at work, with a store that reports go to, and its log."""

    def __init__(self, store: Store, **terms: object) -> None:
        self.store = store
        self.sent: list[tuple[Envelope, EmailMessage]] = []
        self.before: Callable[[Settlement], object] = lambda settles: None
        self._log = io.BytesIO()
        self._messages = 0
        self._reports = 0
        self.reporter = self.colleague("reporter", **terms)

    def colleague(self, owner: str, **terms: object) -> Reporter:
        """Another reporter at the same store."""
        hostname = "mail.example.net"
        postmaster = Address.parse(f"MAILER-DAEMON@{hostname}")
        return Reporter(
            self.store,
            ReportTerms(hostname=hostname, from_address=postmaster, **terms),  # type: ignore[arg-type]  # of a test
            owner=owner,
            submit=self._submit,
            log=open_logger(Level.INFO, target=StreamTarget(self._log)),
            new_id=self._new_id,
        )

    @property
    def log(self) -> str:
        self.reporter._log.output.sink.flush()
        return self._log.getvalue().decode()

    def _new_id(self) -> str:
        self._reports += 1
        return f"R{self._reports}.1"

    async def _submit(
        self, message_id: str, envelope: Envelope, content: Content, *, settles: Settlement
    ) -> None:
        outcome = self.before(settles)
        if isinstance(outcome, Exception):
            raise outcome
        message = QueuedMessage.from_envelope(message_id, envelope, size=content.output_size, now=NOW)
        deliveries = deliveries_to(message_id, envelope.rcpt_to, due=NOW, local_domain="example.net")
        await self.store.commit(message, deliveries, content, settles=settles)
        octets = b"".join(content.blocks())
        parsed = email.message_from_bytes(octets, policy=email.policy.SMTP)
        assert isinstance(parsed, EmailMessage)
        assert parsed.defects == []
        self.sent.append((envelope, parsed))

    async def put(
        self,
        *recipients: str | Recipient,
        mail_from: str = "sender@example.com",
        params: MailParameters | None = None,
        content: bytes = SMALL,
    ) -> tuple[Delivery, ...]:
        """Commit a message, claimed by the scheduler; its deliveries."""
        self._messages += 1
        addressed = tuple(
            each if isinstance(each, Recipient) else Recipient(Address.parse(each)) for each in recipients
        )
        sender = Address.parse(f"<{mail_from}>")
        envelope = Envelope(sender, addressed, params or MailParameters())
        message = QueuedMessage.from_envelope(f"M{self._messages}.1", envelope, size=len(content), now=NOW)
        deliveries = deliveries_to(message.id, addressed, due=NOW, local_domain="example.net", lease=LEASE)
        await self.store.commit(message, deliveries, Content.from_bytes(content))
        return deliveries

    async def fail(
        self, *deliveries: Delivery, diagnostic: Diagnostic = NEVER, report_at: float = DUE
    ) -> None:
        outcomes = [Failed(delivery.key, diagnostic, report_at) for delivery in deliveries]
        await self.store.record(outcomes, owner="scheduler")

    async def left(self) -> dict[str, int]:
        """What is in the store: how many deliveries of each message."""
        page = await self.store.select(EVERYTHING, limit=1000)
        return {request.message.id: len(request.deliveries) for request in page.requests}

    async def message(self, message_id: str) -> QueuedMessage:
        page = await self.store.select(Selection(message_ids=frozenset({message_id})), limit=1)
        return page.requests[0].message


def recipient(address: str, *notify: Notify) -> Recipient:
    return Recipient(Address.parse(address), RcptParameters(notify=frozenset(notify)))


def groups(report: EmailMessage) -> list[dict[str, str]]:
    """The fields about each recipient."""
    _, status, *_ = report.iter_parts()
    return [dict(group.items()) for group in status.get_payload()][1:]  # type: ignore[union-attr]  # messages


def told(report: EmailMessage) -> dict[str, str]:
    """Each recipient's address with its action."""
    return {each["Final-Recipient"].removeprefix("rfc822; "): each["Action"] for each in groups(report)}


def kinds(report: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in report.iter_parts()]


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        async with MemoryStore() as memory:
            yield memory
    else:
        async with await SqliteStore.open(tmp_path / "queue", log=silent_logger()) as sqlite:
            yield sqlite


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


async def test_a_failure_is_reported_once_and_then_the_message_is_gone(desk: Desk) -> None:
    await desk.fail(*await desk.put("user@example.org"))
    assert await desk.reporter.report_due(DUE - 1) is None
    assert desk.sent == []
    assert await desk.reporter.report_due(DUE) is None
    ((envelope, report),) = desk.sent
    assert envelope.mail_from == NULL_PATH
    assert [str(each) for each in envelope.rcpt_to] == ["sender@example.com"]
    assert told(report) == {"user@example.org": "failed"}
    assert groups(report)[0]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert kinds(report) == ["text/plain", "message/delivery-status", "message/rfc822"]
    assert await desk.left() == {"R1.1": 1}
    assert await desk.reporter.report_due(DUE + 10_000) is None
    assert len(desk.sent) == 1
    assert "report sent" in desk.log


async def test_one_report_tells_of_all_that_are_final_by_then(desk: Desk) -> None:
    first, second, third = await desk.put("a@example.org", "b@example.com", "c@example.net")
    await desk.fail(first)
    await desk.fail(second, report_at=DUE + 9)
    await desk.store.record([Deferred(third.key, LATER, NOW + 300)], owner="scheduler")
    await desk.reporter.report_due(DUE)
    ((_, report),) = desk.sent
    assert told(report) == {"a@example.org": "failed", "b@example.com": "failed"}
    assert await desk.left() == {"M1.1": 1, "R1.1": 1}


async def test_success_is_reported_to_who_asked(desk: Desk) -> None:
    asked, silent = await desk.put(recipient("a@example.org", Notify.SUCCESS), "b@example.org")
    assert wants(await desk.message("M1.1"), asked.recipient, Action.RELAYED)
    assert not wants(await desk.message("M1.1"), silent.recipient, Action.RELAYED)
    outcomes = [Delivered(asked.key, OK, DUE), Delivered(silent.key, OK)]
    await desk.store.record(outcomes, owner="scheduler")
    await desk.reporter.report_due(DUE)
    ((_, report),) = desk.sent
    assert told(report) == {"a@example.org": "relayed"}
    assert kinds(report)[-1] == "text/rfc822-headers"
    assert await desk.left() == {"R1.1": 1}


async def test_what_a_mailbox_server_took_is_delivered_and_not_only_relayed(desk: Desk) -> None:
    (delivery,) = await desk.put(recipient("a@example.org", Notify.SUCCESS))
    await desk.store.reroute(EVERYTHING, "lmtp:///run/lmtp.sock")
    await desk.store.record([Delivered(delivery.key, OK, DUE)], owner="scheduler")
    await desk.reporter.report_due(DUE)
    assert told(desk.sent[0][1]) == {"a@example.org": "delivered"}


@pytest.mark.parametrize("notify", [(Notify.NEVER,), (Notify.SUCCESS, Notify.DELAY)], ids=str)
async def test_who_does_not_want_to_know_is_not_told(desk: Desk, notify: tuple[Notify, ...]) -> None:
    await desk.fail(*await desk.put(recipient("a@example.org", *notify)))
    await desk.reporter.report_due(DUE)
    assert desk.sent == []
    assert await desk.left() == {}


async def test_nobody_is_told_of_a_report_that_failed(desk: Desk) -> None:
    await desk.fail(*await desk.put("user@example.org", mail_from=""))
    await desk.reporter.report_due(DUE)
    assert desk.sent == []
    assert await desk.left() == {}
    assert "nobody is told that mail without a sender failed" in desk.log
    assert "550 5.1.1 no such user" in desk.log


async def test_a_postmaster_who_wants_to_be_is_told_of_it_once(store: Store) -> None:
    postmaster = Address.parse("postmaster@example.net")
    desk = Desk(store, postmaster=postmaster)
    await desk.fail(*await desk.put("user@example.org", mail_from=""))
    await desk.reporter.report_due(DUE)
    ((envelope, report),) = desk.sent
    assert [each.address for each in envelope.rcpt_to] == [postmaster]
    assert envelope.mail_from == NULL_PATH
    assert kinds(report)[-1] == "text/rfc822-headers"
    (request,) = await store.claim("example.net", lease=LEASE, now=NOW, limit=9)
    await desk.fail(*request.deliveries)
    await desk.reporter.report_due(DUE)
    assert len(desk.sent) == 1
    assert await desk.left() == {}


async def test_a_bare_postmaster_as_sender_is_ours(desk: Desk) -> None:
    await desk.fail(*await desk.put("user@example.org", mail_from="postmaster"))
    await desk.reporter.report_due(DUE)
    assert str(desk.sent[0][0].rcpt_to[0]) == "postmaster@mail.example.net"


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        (MailParameters(), "message/rfc822"),
        (MailParameters(ret=Ret.FULL), "message/rfc822"),
        (MailParameters(ret=Ret.HDRS), "text/rfc822-headers"),
        (MailParameters(ret=Ret.FULL, requiretls=True), "text/rfc822-headers"),
    ],
)
async def test_what_goes_back_is_what_the_sender_asked_for(
    desk: Desk, params: MailParameters, kind: str
) -> None:
    await desk.fail(*await desk.put("user@example.org", params=params))
    await desk.reporter.report_due(DUE)
    ((envelope, report),) = desk.sent
    assert kinds(report)[-1] == kind
    assert envelope.params.requiretls is params.requiretls


async def test_of_a_large_message_the_header_goes_back(desk: Desk) -> None:
    await desk.fail(*await desk.put("user@example.org", content=LARGE, params=MailParameters(ret=Ret.FULL)))
    await desk.reporter.report_due(DUE)
    assert kinds(desk.sent[0][1])[-1] == "text/rfc822-headers"


async def test_a_report_has_the_needs_of_its_message(desk: Desk) -> None:
    params = MailParameters(envid="my=id", mt_priority=4, smtputf8=True)
    content = "Subject: Grüße\r\n\r\nbody\r\n".encode()
    await desk.fail(*await desk.put("üser@example.org", params=params, content=content))
    await desk.reporter.report_due(DUE)
    ((envelope, report),) = desk.sent
    assert (envelope.params.mt_priority, envelope.params.smtputf8) == (4, True)
    assert kinds(report) == ["text/plain", "message/global-delivery-status", "message/global"]
    assert "Original-Envelope-Id: my=id" in report.as_string()


async def test_without_smtputf8_a_report_needs_seven_bits(desk: Desk) -> None:
    await desk.fail(*await desk.put("user@example.org", content="Subject: x\r\n\r\nGrüße!\r\n".encode()))
    await desk.reporter.report_due(DUE)
    ((envelope, report),) = desk.sent
    assert envelope.params == MailParameters()
    assert report.as_bytes().isascii()


async def test_a_report_that_is_somebody_elses_by_now_is_not_sent(desk: Desk) -> None:
    await desk.fail(*await desk.put("a@example.org"), *await desk.put("b@example.org"))
    (request, _) = await desk.store.claim_reports(lease=Lease("other", NOW + 11), now=DUE, limit=9)
    assert await desk.reporter.report_due(DUE) is None
    assert desk.sent == []
    await desk.store.settle(Settlement(request.message.id, "other", concluded=(0,)))
    await desk.reporter.report_due(NOW + 11)
    assert [told(report) for _, report in desk.sent] == [{"b@example.org": "failed"}]


async def test_a_lease_that_was_lost_on_the_way_loses_only_its_own_report(desk: Desk) -> None:
    await desk.fail(*await desk.put("a@example.org"), *await desk.put("b@example.org"))
    slow = desk.colleague("slow")
    taken = await desk.store.claim_reports(lease=Lease("slow", NOW + 11), now=DUE, limit=9)
    await desk.reporter.report_due(NOW + 11)
    assert len(desk.sent) == 2
    for request in taken:
        await slow._report(request, NOW + 12)
    assert len(desk.sent) == 2
    assert await desk.left() == {"R1.1": 1, "R2.1": 1}


async def test_a_store_that_is_full_delays_reports_and_loses_none(desk: Desk) -> None:
    await desk.fail(*await desk.put("a@example.org"), *await desk.put("b@example.org"))
    desk.before = lambda settles: StoreFull("no room")
    assert await desk.reporter.report_due(DUE) == DUE + PAUSE_S
    assert await desk.left() == {"M1.1": 1, "M2.1": 1}
    assert "reports must wait" in desk.log
    desk.before = lambda settles: None
    await desk.reporter.report_due(DUE + LEASE_S)
    assert len(desk.sent) == 2
    assert [each for each in await desk.left() if each.startswith("M")] == []


async def test_a_defect_that_one_message_shows_does_not_stop_the_others(desk: Desk) -> None:
    await desk.fail(*await desk.put("a@example.org"), *await desk.put("b@example.org"))
    desk.before = lambda settles: RuntimeError("a bug") if settles.message_id == "M1.1" else None
    assert await desk.reporter.report_due(DUE) is None
    assert [told(report) for _, report in desk.sent] == [{"b@example.org": "failed"}]
    assert "a report failed, and is tried again" in desk.log
    desk.before = lambda settles: None
    await desk.reporter.report_due(DUE + LEASE_S)
    assert len(desk.sent) == 2


async def test_reports_over_the_limit_wait_for_their_turn(store: Store) -> None:
    desk = Desk(store, max_per_hour=2)
    for number in range(3):
        await desk.fail(*await desk.put(f"user{number}@example.org"))
    assert await desk.reporter.report_due(DUE) == DUE
    assert len(desk.sent) == 2
    assert await desk.reporter.report_due(DUE) == DUE + 1800
    assert len(desk.sent) == 2
    await desk.reporter.report_due(DUE + 1800)
    assert len(desk.sent) == 3


async def test_who_has_too_many_reports_holds_up_nobody_else(store: Store) -> None:
    desk = Desk(store, max_per_addressee=2)
    for number in range(5):
        await desk.fail(*await desk.put(f"user{number}@example.org", mail_from="Forged@example.com"))
    await desk.fail(*await desk.put("user@example.org", mail_from="other@example.com"))
    assert await desk.reporter.report_due(DUE) == DUE + TURNS_S
    told = [str(envelope.rcpt_to[0].address) for envelope, _ in desk.sent]
    assert told == ["Forged@example.com"] * 2 + ["other@example.com"]
    assert desk.log.count("report put off") == 3
    turns = [DUE + 1800, DUE + 3600, DUE + 5400]
    for count, turn in enumerate(turns):
        assert await desk.reporter.report_due(turn - 1) == turn - 1 + TURNS_S
        assert len(desk.sent) == 3 + count
        again = await desk.reporter.report_due(turn)
        assert len(desk.sent) == 4 + count
    assert again is None
    assert await desk.left() == {f"R{number}.1": 1 for number in range(1, 7)}


async def test_a_report_that_waits_too_long_for_its_addressee_is_let_go(store: Store) -> None:
    desk = Desk(store, max_per_addressee=1, max_wait_s=5000.0)
    for number in range(4):
        await desk.fail(*await desk.put(f"user{number}@example.org"))
    await desk.reporter.report_due(DUE)
    await desk.reporter.report_due(DUE + 3600)
    assert len(desk.sent) == 2
    await desk.reporter.report_due(DUE + 5000)
    assert len(desk.sent) == 2
    assert desk.log.count("report not sent") == 2
    assert await desk.left() == {"R1.1": 1, "R2.1": 1}


async def test_who_has_too_many_reports_hears_of_no_delay(store: Store) -> None:
    desk = Desk(store, max_per_addressee=1)
    (late,) = await desk.put("late@example.org")
    await desk.store.record([Deferred(late.key, LATER, NOW + 300)], owner="scheduler")
    await desk.fail(*await desk.put("gone@example.org"))
    await desk.reporter.report_due(DUE)
    message = await desk.message("M1.1")
    assert not await desk.reporter.report_delay(message, retry_until=NOW + 9, now=DUE)
    assert await desk.reporter.report_delay(message, retry_until=NOW + 9, now=DUE + 3600)


async def test_what_nobody_is_told_of_does_not_count(store: Store) -> None:
    desk = Desk(store, max_per_hour=1)
    for number in range(3):
        await desk.fail(*await desk.put(f"user{number}@example.org", mail_from=""))
    await desk.fail(*await desk.put("last@example.org"))
    for _ in range(4):
        assert await desk.reporter.report_due(DUE) == DUE
    assert len(desk.sent) == 1
    assert await desk.left() == {"R1.1": 1}


async def test_many_reports_are_sent_batch_by_batch(desk: Desk) -> None:
    total = 2 * BATCH + 1
    for number in range(total):
        await desk.fail(*await desk.put(f"user{number}@example.org"))
    rounds = 0
    again: float | None = DUE
    while again is not None:
        again = await desk.reporter.report_due(again)
        rounds += 1
    assert rounds == 3
    assert len(desk.sent) == total


async def test_a_sender_is_told_once_that_a_message_is_late(desk: Desk) -> None:
    late, other, never, untried = await desk.put(
        "late@example.org",
        "other@example.com",
        recipient("never@example.org", Notify.NEVER),
        "new@example.net",
    )
    deferred = [Deferred(each.key, LATER, NOW + 300) for each in (late, other, never)]
    await desk.store.record(deferred, owner="scheduler")
    message = await desk.message("M1.1")
    assert await desk.reporter.report_delay(message, retry_until=NOW + 432_000, now=NOW + 14_400)
    ((envelope, report),) = desk.sent
    assert str(envelope.rcpt_to[0]) == "sender@example.com"
    assert told(report) == {"late@example.org": "delayed", "other@example.com": "delayed"}
    assert groups(report)[0]["Will-Retry-Until"] == "Wed, 20 Jan 2027 08:00:00 +0000"
    assert groups(report)[0]["Status"] == "4.4.1"
    assert kinds(report)[-1] == "text/rfc822-headers"
    assert await desk.left() == {"M1.1": 4, "R1.1": 1}
    for known in (message, await desk.message("M1.1")):
        assert not await desk.reporter.report_delay(known, retry_until=NOW + 432_000, now=NOW + 14_401)
    assert len(desk.sent) == 1
    await desk.fail(untried)
    await desk.reporter.report_due(DUE)
    assert told(desk.sent[1][1]) == {"new@example.net": "failed"}


@pytest.mark.parametrize(("now", "status"), [(NOW + 59, "4.4.1"), (NOW + 60, "4.4.7")])
async def test_mail_later_than_its_sender_allows_is_told_of_as_expired(
    desk: Desk, now: float, status: str
) -> None:
    (late,) = await desk.put("late@example.org")
    await desk.store.record([Deferred(late.key, LATER, NOW + 300)], owner="scheduler")
    message = replace(await desk.message("M1.1"), deliver_by=NOW + 60)
    assert await desk.reporter.report_delay(message, retry_until=NOW + 432_000, now=now)
    ((_, report),) = desk.sent
    assert groups(report)[0]["Status"] == status
    assert told(report) == {"late@example.org": "delayed"}


async def test_who_heard_of_a_delay_hears_once_of_the_time_limit_that_it_had_set(desk: Desk) -> None:
    (late,) = await desk.put("late@example.org")
    await desk.store.record([Deferred(late.key, LATER, NOW + 300)], owner="scheduler")
    for now in (NOW + 50, NOW + 59, NOW + 60, NOW + 70):
        message = replace(await desk.message("M1.1"), deliver_by=NOW + 60)
        await desk.reporter.report_delay(message, retry_until=NOW + 432_000, now=now)
    assert [groups(report)[0]["Status"] for _, report in desk.sent] == ["4.4.1", "4.4.7"]


async def test_delay_of_mail_without_a_sender_is_not_reported(desk: Desk) -> None:
    (delivery,) = await desk.put("user@example.org", mail_from="")
    await desk.store.record([Deferred(delivery.key, LATER, NOW + 300)], owner="scheduler")
    message = await desk.message("M1.1")
    assert not await desk.reporter.report_delay(message, retry_until=NOW + 9, now=NOW)
    assert desk.sent == []


async def test_a_message_delivered_meanwhile_is_not_late(desk: Desk) -> None:
    (delivery,) = await desk.put("user@example.org")
    message = await desk.message("M1.1")
    await desk.store.record([Delivered(delivery.key, OK)], owner="scheduler")
    assert not await desk.reporter.report_delay(message, retry_until=NOW + 9, now=NOW)


async def test_a_report_on_a_message_whose_content_is_lost_goes_without_it(tmp_path: Path) -> None:
    async with await SqliteStore.open(tmp_path / "queue", log=silent_logger()) as store:
        desk = Desk(store)
        await desk.fail(*await desk.put("user@example.org", content=LARGE))
        for file in (tmp_path / "queue" / "content").iterdir():
            file.unlink()
        await desk.reporter.report_due(DUE)
        assert kinds(desk.sent[0][1]) == ["text/plain", "message/delivery-status"]
        assert await desk.left() == {"R1.1": 1}


def test_the_settings_say_how_reports_are_made(tmp_path: Path) -> None:
    template = tmp_path / "report.txt"
    template.write_text("Subject: Zurück\n\n$recipients\n", "utf-8")
    plain = ReportTerms.of(ReportSettings(), "mail.example.net")
    assert str(plain.from_address) == "MAILER-DAEMON@mail.example.net"
    assert plain.postmaster is None
    settings = ReportSettings(address="no-reply@example.net", postmaster="me@example.net", template=template)
    terms = ReportTerms.of(settings, "mail.example.net")
    assert (str(terms.from_address), str(terms.postmaster)) == ("no-reply@example.net", "me@example.net")
    assert terms.text.subject.template == "Zurück"
    template.write_text("nothing", "utf-8")
    with pytest.raises(ValueError):
        ReportTerms.of(settings, "mail.example.net")


@pytest.mark.parametrize(
    ("action", "notify"),
    [
        (Action.FAILED, Notify.FAILURE),
        (Action.DELAYED, Notify.DELAY),
        (Action.RELAYED, Notify.SUCCESS),
        (Action.DELIVERED, Notify.SUCCESS),
    ],
)
def test_what_is_reported_is_what_was_asked_for(action: Action, notify: Notify) -> None:
    message = QueuedMessage(id="M1.1", mail_from=Address.parse("a@example.com"), size=1, arrived=NOW)
    report = QueuedMessage(id="M2.1", mail_from=NULL_PATH, size=1, arrived=NOW)
    for each in Notify:
        assert wants(message, recipient("b@example.org", each), action) is (each is notify)
        assert wants(report, recipient("b@example.org", each), action) is (action is Action.FAILED)
    by_default = Recipient(Address.parse("b@example.org"))
    assert wants(message, by_default, action) is (notify is not Notify.SUCCESS)
