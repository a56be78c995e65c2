"""What any store must pass: a subclass gives the fixture ``store`` with a new, empty one.

Who writes a store also shows that what was committed survives a crash, and what happens when the disk fails:
that depends on what it is made of, see ``test_sqlite_crash.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from harakapy.mail import Content, Recipient
from harakapy.queue import (
    ClockSet,
    Count,
    Deferred,
    Delivered,
    DeliveryKey,
    Failed,
    Lease,
    LeaseLost,
    MessageNotFound,
    Outcome,
    QueuedMessage,
    Selection,
    Settlement,
    State,
    Store,
    StoreUnavailable,
    Told,
    deliveries_to,
)
from harakapy.smtp.address import Address
from harakapy.smtp.parameters import (
    Body,
    DeliverBy,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Ret,
)

from .samples import (
    LARGE,
    LATER,
    MINE,
    NEVER,
    NOW,
    OK,
    SMALL,
    YOURS,
    claim_all,
    flat,
    message,
    put,
    read,
    recipient,
    spooled,
)

EVERYTHING = Selection()


class StoreConformance:
    """The contract of `harakapy.queue.Store`, clause by clause."""

    # Commit, and what comes back.

    async def test_what_was_committed_is_claimed_as_it_was(self, store: Store) -> None:
        params = MailParameters(
            body=Body.EIGHTBITMIME,
            smtputf8=True,
            ret=Ret.HDRS,
            envid="a=b c",
            requiretls=True,
            by=DeliverBy(120, "R", trace=True),
            extra=(("X-OWN", "1"), ("X-FLAG", None)),
        )
        queued = QueuedMessage(
            id="A1B2.1",
            mail_from=Address.parse('<"a \\" b"@Example.COM>'),
            size=len(SMALL),
            arrived=NOW,
            params=params,
            priority=-3,
            deliver_by=NOW + 120,
            hold_until=NOW + 5,
            notes={"queue": {"next_hop": "lmtp://x"}, "list": [1, 2.5, None, "\ud800 ü"]},
            told=Told.TIME_LIMIT,
        )
        asked = RcptParameters(
            notify=frozenset({Notify.SUCCESS, Notify.DELAY}),
            orcpt=OriginalRecipient("utf-8", "jürgen=@example.org"),
        )
        recipients = [Recipient(Address.parse("<jürgen@BÜCHER.example>"), asked), recipient("<postmaster>")]
        deliveries = deliveries_to(queued.id, recipients, due=NOW, local_domain="xn--bcher-kva.example")
        await store.commit(queued, deliveries, Content.from_bytes(SMALL))

        (request,) = await store.claim("xn--bcher-kva.example", lease=MINE, now=NOW, limit=10)
        assert request.message == queued
        assert request.message.mail_from.original == queued.mail_from.original
        assert request.deliveries == tuple(each.claimed(MINE, now=NOW) for each in deliveries)
        assert request.envelope.params == params
        assert request.envelope.rcpt_to == tuple(recipients)
        assert request.envelope.rcpt_to[0].address.original == "jürgen@BÜCHER.example"

    @pytest.mark.parametrize("octets", [SMALL, LARGE, b"\r\n", b"no end of header", bytes(range(256)) * 10])
    async def test_content_is_given_back_octet_by_octet(self, store: Store, octets: bytes) -> None:
        (delivery,) = await put(store, content=octets)
        assert await read(store, delivery.message_id) == octets

    async def test_content_comes_with_its_header(self, store: Store) -> None:
        for octets in (SMALL, LARGE):
            (delivery,) = await put(store, content=octets)
            with await store.open_content(delivery.message_id) as content:
                assert content.header.get("Subject") in ("small", "large")
                assert content.size == len(octets)
                assert content.body == octets[content.header_size + 2 :]

    async def test_what_was_put_before_spooled_content_is_stored_with_it(
        self, store: Store, tmp_path: Path
    ) -> None:
        for octets in (SMALL, LARGE):
            with spooled(octets, tmp_path) as content:
                content.prepend(b"Received: by us\r\n")
                queued = message(size=content.output_size)
                deliveries = deliveries_to(queued.id, [recipient("a@b.c")], due=NOW, local_domain="x")
                await store.commit(queued, deliveries, content)
            assert await read(store, queued.id) == b"Received: by us\r\n" + octets

    async def test_content_can_be_read_by_several_at_once(self, store: Store) -> None:
        (delivery,) = await put(store, content=LARGE)
        with (
            await store.open_content(delivery.message_id) as one,
            await store.open_content(delivery.message_id) as other,
        ):
            pairs = list(zip(one.blocks(1000), other.blocks(1000), strict=True))
        assert b"".join(mine for mine, yours in pairs if mine == yours) == LARGE

    async def test_contents_had_by_one_look_are_whole_and_the_others_are_to_be_opened(
        self, store: Store
    ) -> None:
        octets = {"A": SMALL, "B": LARGE, "C": b"no end of header", "D": b"not asked for"}
        for name, each in octets.items():
            await put(store, queued=message(name, size=len(each)), content=each)
        found = await store.contents(["A", "B", "C", "gone"])
        assert set(found) <= {"A", "B", "C"}
        for name, content in found.items():
            assert content.to_bytes() == octets[name]
        assert await store.contents([]) == {}

    async def test_an_id_is_taken_once(self, store: Store) -> None:
        await put(store, queued=message("A.1"))
        with pytest.raises(ValueError, match=r"'A\.1' is in the store already"):
            await put(store, "other@example.org", queued=message("A.1"))
        assert await store.count(EVERYTHING) == Count(1, 1)

    async def test_a_commit_that_is_nonsense_stores_nothing(self, store: Store) -> None:
        queued = message()
        content = Content.from_bytes(SMALL)
        one, two = deliveries_to(
            queued.id, [recipient("a@b.c"), recipient("d@e.f")], due=NOW, local_domain="x"
        )
        with pytest.raises(ValueError, match="are none"):
            await store.commit(queued, [], content)
        with pytest.raises(ValueError, match="two have one number"):
            await store.commit(queued, [one, one], content)
        with pytest.raises(ValueError, match="not one of message"):
            await store.commit(message(), [one, two], content)
        with pytest.raises(ValueError, match="octets"):
            await store.commit(message(queued.id, size=7), [one, two], content)
        with pytest.raises(ValueError, match="settles itself"):
            await store.commit(queued, [one], content, settles=Settlement(queued.id, "me"))
        with pytest.raises(ValueError, match="no JSON"):
            await store.commit(replace(queued, notes={"socket": object()}), [one], content)
        assert await store.count(EVERYTHING) == Count()

    async def test_a_commit_in_a_cancelled_scope_stores_nothing(self, store: Store) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await put(store)
        assert scope.cancelled_caught
        assert await store.count(EVERYTHING) == Count()

    async def test_a_cancelled_commit_returned_or_did_nothing(self, store: Store) -> None:
        returned: set[str] = set()

        async def commit(number: int, scope: trio.CancelScope) -> None:
            with scope:
                (delivery,) = await put(store, queued=message(f"C{number}"))
                returned.add(delivery.message_id)

        scopes = [trio.CancelScope() for _ in range(50)]
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(commit, number, scope)
            for scope in scopes:
                await trio.lowlevel.checkpoint()
                scope.cancel()
        page = await store.select(EVERYTHING, limit=100)
        assert {request.message.id for request in page.requests} == returned

    async def test_many_commit_at_once(self, store: Store) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(300):
                queued = message(f"P{number}", size=len(SMALL))
                nursery.start_soon(lambda each: put(store, queued=each), queued)
        assert await store.count(EVERYTHING) == Count(300, 300)

    async def test_a_failing_commit_leaves_its_neighbours_alone(self, store: Store) -> None:
        await put(store, queued=message("twice"))
        refused: list[str] = []

        async def commit(message_id: str) -> None:
            try:
                await put(store, queued=message(message_id))
            except ValueError:
                refused.append(message_id)

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "twice", "c", "twice", "d"):
                nursery.start_soon(commit, name)
        assert refused == ["twice", "twice"]
        assert await store.count(EVERYTHING) == Count(5, 5)

    # Claims and leases.

    async def test_what_is_due_is_claimed_once(self, store: Store) -> None:
        await put(store)
        (delivery,) = await claim_all(store, "example.org")
        assert (delivery.lease, delivery.attempts, delivery.last_attempt) == (MINE, 1, NOW)
        assert await claim_all(store, "example.org", YOURS) == []

    async def test_the_attempt_is_written_down_when_it_is_claimed(self, store: Store) -> None:
        await put(store)
        await claim_all(store, "example.org")
        page = await store.select(EVERYTHING, limit=1)
        assert page.requests[0].deliveries[0].attempts == 1

    async def test_what_is_not_due_or_elsewhere_is_not_claimed(self, store: Store) -> None:
        await put(store, due=NOW + 1)
        assert await claim_all(store, "example.org") == []
        assert await claim_all(store, "example.com", now=NOW + 1) == []
        assert len(await claim_all(store, "example.org", now=NOW + 1)) == 1

    async def test_a_claim_has_a_limit_of_recipients(self, store: Store) -> None:
        await put(store, *(f"u{number}@example.org" for number in range(5)))
        await put(store)
        first = await store.claim("example.org", lease=MINE, now=NOW, limit=3)
        assert [delivery.number for delivery in flat(first)] == [0, 1, 2]
        second = await store.claim("example.org", lease=MINE, now=NOW, limit=3)
        assert [len(request.deliveries) for request in second] == [2, 1]

    async def test_what_is_due_longest_goes_first(self, store: Store) -> None:
        for due in (NOW - 1, NOW - 3, NOW - 2):
            await put(store, due=due)
        assert [each.due for each in await claim_all(store, "example.org")] == [NOW - 3, NOW - 2, NOW - 1]

    async def test_what_is_urgent_goes_before_what_is_due_longer(self, store: Store) -> None:
        for priority, due in ((0, NOW - 9), (4, NOW), (-2, NOW - 99), (4, NOW - 1)):
            await put(store, queued=message(f"{priority} {due}", priority=priority), due=due)
        requests = await store.claim("example.org", lease=MINE, now=NOW, limit=10)
        assert [request.message.priority for request in requests] == [4, 4, 0, -2]
        assert [each.due for each in flat(requests)] == [NOW - 1, NOW, NOW - 9, NOW - 99]

    async def test_recipients_at_other_destinations_stay(self, store: Store) -> None:
        await put(store, "a@one.example", "b@two.example", "c@one.example")
        assert [each.number for each in await claim_all(store, "one.example")] == [0, 2]
        assert [each.number for each in await claim_all(store, "two.example", YOURS)] == [1]

    async def test_a_message_accepted_under_a_lease_is_not_claimed_by_others(self, store: Store) -> None:
        (delivery,) = await put(store, lease=MINE)
        assert await claim_all(store, "example.org", YOURS) == []
        assert await store.due_destinations(NOW, limit=10) == ()
        assert await store.next_due() == MINE.until
        assert await store.record([Delivered(delivery.key, OK)], owner="me") == frozenset()
        assert await store.count(EVERYTHING) == Count()

    async def test_a_lease_that_is_over_is_taken_over(self, store: Store) -> None:
        await put(store)
        await claim_all(store, "example.org")
        assert await claim_all(store, "example.org", YOURS, now=MINE.until - 1) == []
        later = Lease("you", MINE.until + 600)
        (delivery,) = await claim_all(store, "example.org", later, now=MINE.until)
        assert (delivery.lease, delivery.attempts) == (later, 2)

    async def test_a_lease_is_renewed_by_its_owner_only(self, store: Store) -> None:
        (delivery,) = await put(store)
        unknown = DeliveryKey("nobody", 0)
        await claim_all(store, "example.org")
        longer = Lease("me", NOW + 1200)
        assert await store.renew([delivery.key, unknown], Lease("you", NOW + 9999)) == frozenset()
        assert await store.renew([delivery.key, unknown], longer) == {delivery.key}
        assert await claim_all(store, "example.org", YOURS, now=NOW + 1199) == []
        assert len(await claim_all(store, "example.org", Lease("you", NOW + 2400), now=NOW + 1200)) == 1
        assert await store.renew([delivery.key], longer) == frozenset()

    async def test_what_is_given_back_was_not_attempted(self, store: Store) -> None:
        one, two = await put(store, "a@example.org", "b@example.org")
        await claim_all(store, "example.org")
        await store.record([Deferred(two.key, LATER, NOW)], owner="me")
        await claim_all(store, "example.org")
        await store.unclaim([one.key, two.key, DeliveryKey("gone", 0)], owner="you", due=NOW)
        assert await claim_all(store, "example.org") == []
        await store.unclaim([one.key, two.key, DeliveryKey("gone", 0)], owner="me", due=NOW + 5)
        assert await claim_all(store, "example.org", now=NOW + 4) == []
        again = await claim_all(store, "example.org", now=NOW + 5)
        assert [each.attempts for each in again] == [1, 2]

    async def test_leases_of_a_dead_owner_can_be_ended(self, store: Store) -> None:
        await put(store, "a@one.example", "b@two.example")
        await claim_all(store, "one.example")
        await claim_all(store, "two.example", YOURS)
        assert await store.release_leases("me") == 1
        assert await store.due_destinations(NOW, limit=10) == ("one.example",)
        assert await store.release_leases("me") == 0

    async def test_due_destinations_are_walked_in_parts(self, store: Store) -> None:
        names = [f"d{number:02}.example" for number in range(10)]
        for number, name in enumerate(names):
            await put(store, f"a@{name}", f"b@{name}", due=NOW + number % 2)
            await put(store, f"c@{name}", queued=message(priority=5), due=NOW + 100)
        assert await store.due_destinations(NOW, limit=3) == tuple(names[0:6:2])
        assert await store.due_destinations(NOW, limit=3, after=names[4]) == tuple(names[6::2])
        assert await store.due_destinations(NOW, limit=3, after=names[8]) == ()
        assert await store.due_destinations(NOW + 1, limit=100) == tuple(names)
        assert await store.due_destinations(NOW - 1, limit=100) == ()

    async def test_a_dead_destination_does_not_hide_the_others(self, store: Store) -> None:
        for number in range(50):
            await put(store, f"u{number}@dead.example")
        await put(store, "a@alive.example", "b@zoo.example")
        assert await store.due_destinations(NOW, limit=2, after="alive.example") == (
            "dead.example",
            "zoo.example",
        )

    async def test_next_due_is_the_earliest_of_all(self, store: Store) -> None:
        assert await store.next_due() is None
        await put(store, "a@one.example", due=NOW + 9)
        await put(store, "a@two.example", due=NOW + 5)
        (urgent,) = await put(store, "a@one.example", queued=message(priority=9), due=NOW + 7)
        assert await store.next_due() == NOW + 5
        await claim_all(store, "two.example", now=NOW + 5)
        assert await store.next_due() == NOW + 7
        await store.hold(Selection(message_ids=frozenset({urgent.message_id})))
        assert await store.next_due() == NOW + 9

    async def test_next_due_looks_past_what_is_due_already(self, store: Store) -> None:
        await put(store, "a@blocked.example", "b@other.example", due=NOW)
        await put(store, "a@blocked.example", due=NOW + 9)
        (failed,) = await put(store, queued=message(priority=1), lease=MINE)
        await store.record([Failed(failed.key, NEVER, NOW + 8)], owner="me")
        assert await store.next_due() == NOW
        assert await store.next_due(after=NOW) == NOW + 8
        assert await store.next_due(after=NOW + 8) == NOW + 9
        assert await store.next_due(after=NOW + 9) is None

    # Outcomes.

    async def test_the_last_delivery_ends_the_message(self, store: Store) -> None:
        one, two = await put(store, "a@example.org", "b@example.org", content=LARGE)
        await claim_all(store, "example.org")
        assert await store.record([Delivered(one.key, OK)], owner="me") == frozenset()
        assert await read(store, one.message_id) == LARGE
        assert await store.record([Failed(two.key, NEVER)], owner="me") == frozenset()
        assert await store.count(EVERYTHING) == Count()
        with pytest.raises(MessageNotFound, match=one.message_id):
            await store.open_content(one.message_id)

    async def test_what_is_deferred_waits_with_its_last_reply(self, store: Store) -> None:
        (delivery,) = await put(store)
        await claim_all(store, "example.org")
        await store.record([Deferred(delivery.key, LATER, NOW + 300)], owner="me")
        assert await claim_all(store, "example.org", YOURS, now=NOW + 299) == []
        (again,) = await claim_all(store, "example.org", YOURS, now=NOW + 300)
        assert (again.diagnostic, again.attempts, again.due) == (LATER, 2, NOW + 300)

    async def test_an_outcome_that_comes_too_late_changes_nothing(self, store: Store) -> None:
        (delivery,) = await put(store)
        later = Lease("you", NOW + 9999)
        await claim_all(store, "example.org")
        await claim_all(store, "example.org", later, now=MINE.until)
        late: list[Outcome] = [Deferred(delivery.key, LATER, NOW), Failed(delivery.key, NEVER, NOW)]
        assert await store.record(late, owner="me") == {delivery.key}
        (request,) = (await store.select(EVERYTHING, limit=10)).requests
        assert (request.deliveries[0].lease, request.deliveries[0].diagnostic) == (later, None)

    async def test_an_outcome_counts_after_the_lease_while_nobody_took_over(self, store: Store) -> None:
        (delivery,) = await put(store, lease=Lease("me", NOW - 1))
        assert await store.record([Deferred(delivery.key, LATER, NOW + 5)], owner="me") == frozenset()

    async def test_what_is_delivered_is_whoever_has_the_lease(self, store: Store) -> None:
        (delivery,) = await put(store)
        await claim_all(store, "example.org")
        await claim_all(store, "example.org", Lease("you", NOW + 9999), now=MINE.until)
        assert await store.record([Delivered(delivery.key, OK)], owner="me") == frozenset()
        assert await store.record([Deferred(delivery.key, LATER, NOW)], owner="you") == {delivery.key}
        assert await store.count(EVERYTHING) == Count()

    async def test_outcomes_of_what_is_gone_are_told(self, store: Store) -> None:
        key = DeliveryKey("never there", 3)
        (delivery,) = await put(store, lease=MINE)
        absent = DeliveryKey(delivery.message_id, 7)
        outcomes = [Delivered(key, OK), Delivered(absent, OK), Delivered(delivery.key, OK)]
        assert await store.record(outcomes, owner="me") == {key, absent}

    # Reports.

    async def test_what_is_to_be_reported_is_kept_until_it_is(self, store: Store) -> None:
        one, two = await put(store, "a@example.org", "b@example.org", lease=MINE)
        await store.record([Delivered(one.key, OK, NOW + 60), Failed(two.key, NEVER, NOW + 90)], owner="me")
        assert await store.next_due() == NOW + 60
        assert await store.due_destinations(NOW + 999, limit=10) == ()
        assert await store.claim_reports(lease=MINE, now=NOW + 59, limit=10) == ()

        (request,) = await store.claim_reports(lease=MINE, now=NOW + 60, limit=10)
        assert [each.state for each in request.deliveries] == [State.DELIVERED, State.FAILED]
        assert [each.diagnostic for each in request.deliveries] == [OK, NEVER]
        assert [each.attempts for each in request.deliveries] == [1, 1]
        assert await store.claim_reports(lease=YOURS, now=NOW + 99, limit=10) == ()

        await store.settle(Settlement(one.message_id, "me", (0,)))
        assert await store.count(EVERYTHING) == Count(1, 1)
        await store.settle(Settlement(one.message_id, "me", (1,)))
        assert await store.count(EVERYTHING) == Count()

    async def test_reports_are_claimed_again_when_the_lease_is_over(self, store: Store) -> None:
        (delivery,) = await put(store, lease=MINE)
        await store.record([Failed(delivery.key, NEVER, NOW)], owner="me")
        await store.claim_reports(lease=MINE, now=NOW, limit=10)
        assert await store.next_due() == MINE.until
        longer = Lease("you", NOW + 9999)
        (request,) = await store.claim_reports(lease=longer, now=MINE.until, limit=10)
        assert request.deliveries[0].lease == longer
        with pytest.raises(LeaseLost, match=delivery.message_id):
            await store.settle(Settlement(delivery.message_id, "me", (0,)))

    async def test_reports_have_a_limit_and_an_order(self, store: Store) -> None:
        for due in (NOW - 1, NOW - 3, NOW - 2):
            both = await put(store, "a@example.org", "b@example.org", queued=message(f"R{due}"), lease=MINE)
            await store.record([Failed(each.key, NEVER, due) for each in both], owner="me")
        requests = await store.claim_reports(lease=MINE, now=NOW, limit=2)
        assert [request.message.id for request in requests] == [f"R{NOW - 3}", f"R{NOW - 2}"]
        assert [len(request.deliveries) for request in requests] == [2, 2]
        assert len(await store.claim_reports(lease=YOURS, now=NOW, limit=2)) == 1

    async def test_a_report_is_stored_with_what_it_settles(self, store: Store) -> None:
        (delivery,) = await put(store, lease=MINE)
        await store.record([Failed(delivery.key, NEVER, NOW)], owner="me")
        await store.claim_reports(lease=MINE, now=NOW, limit=1)
        settlement = Settlement(delivery.message_id, "me", (0,))
        for report, problem in (
            (message("R1", mail_from=""), None),
            (message("R2", mail_from=""), LeaseLost),
        ):
            deliveries = deliveries_to(
                report.id, [recipient("sender@example.com")], due=NOW, local_domain="x"
            )
            commit = store.commit(report, deliveries, Content.from_bytes(SMALL), settles=settlement)
            if problem is None:
                await commit
            else:
                with pytest.raises(problem):
                    await commit
        page = await store.select(EVERYTHING, limit=10)
        assert [request.message.id for request in page.requests] == ["R1"]
        assert page.requests[0].message.mail_from.is_null

    async def test_a_sender_is_told_once_of_a_delay_and_once_of_a_time_limit_after_that(
        self, store: Store
    ) -> None:
        (delivery,) = await put(store)
        delay, limit = (
            Settlement(delivery.message_id, "me", told=each) for each in (Told.DELAY, Told.TIME_LIMIT)
        )
        for settlement, too_late in ((delay, [delay]), (limit, [delay, limit])):
            await store.settle(settlement)
            for late in too_late:
                with pytest.raises(LeaseLost):
                    await store.settle(late)
            (request,) = (await store.select(EVERYTHING, limit=1)).requests
            assert request.message.told is settlement.told

    async def test_a_settlement_is_recorded_as_a_whole_or_not_at_all(self, store: Store) -> None:
        one, two = await put(store, "a@example.org", "b@example.org", lease=MINE)
        await store.record([Failed(one.key, NEVER, NOW)], owner="me")
        await store.claim_reports(lease=MINE, now=NOW, limit=1)
        with pytest.raises(LeaseLost):
            await store.settle(Settlement(one.message_id, "me", (one.number, two.number), told=Told.DELAY))
        (request,) = (await store.select(EVERYTHING, limit=1)).requests
        assert len(request.deliveries) == 2
        assert request.message.told is Told.NOTHING

    # Looking and steering.

    async def test_a_selection_is_paged(self, store: Store) -> None:
        for number in range(7):
            await put(store, "a@one.example", "b@two.example", queued=message(f"S{number}"))
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await store.select(Selection(destination="two.*"), limit=3, after=cursor)
            assert all(each.number == 1 for each in flat(page.requests))
            seen += [request.message.id for request in page.requests]
            cursor = page.cursor
        assert seen == [f"S{number}" for number in range(7)]

    async def test_everything_can_be_selected_by(self, store: Store) -> None:
        await put(
            store, "Ann@One.example", queued=message("X.1", mail_from="boss@Firm.example", arrived=NOW - 50)
        )
        (two,) = await put(store, '"100%_\\\\"@two.example', queued=message("X.2", mail_from=""), lease=MINE)
        await store.record([Deferred(two.key, LATER, NOW)], owner="me")
        await put(store, "c@three.example", queued=message("x.1"))
        await store.hold(Selection(message_ids=frozenset({"x.1"})))

        async def found(selection: Selection) -> list[str]:
            page = await store.select(selection, limit=10)
            assert (await store.count(selection)).messages == len(page.requests)
            return [request.message.id for request in page.requests]

        assert await found(EVERYTHING) == ["X.1", "X.2", "x.1"]
        assert await found(Selection(message_ids=frozenset({"X.1", "X.2", "X.3"}))) == ["X.1", "X.2"]
        assert await found(Selection(message_ids=frozenset())) == []
        assert await found(Selection(mail_from="")) == ["X.2"]
        assert await found(Selection(mail_from="BOSS@*")) == ["X.1"]
        assert await found(Selection(mail_from="*")) == ["X.1", "X.2", "x.1"]
        assert await found(Selection(recipient="ann@one.example")) == ["X.1"]
        assert await found(Selection(recipient='"100%_\\\\"@*')) == ["X.2"]
        assert await found(Selection(recipient='"1_0%*')) == []
        assert await found(Selection(destination="t*.example")) == ["X.2", "x.1"]
        await store.reroute(Selection(domain="two.*"), "lmtp:local")
        assert await found(Selection(destination="lmtp:local", domain="TWO.example")) == ["X.2"]
        assert await found(Selection(states=frozenset({State.HELD, State.FAILED}))) == ["x.1"]
        assert await found(Selection(arrived_before=NOW)) == ["X.1"]
        assert await found(Selection(arrived_after=NOW - 50)) == ["X.2", "x.1"]
        assert await found(Selection(error="CONNECTION*fused")) == ["X.2"]
        assert await found(Selection(error="", arrived_after=NOW)) == []
        assert await found(Selection(destination="t*", recipient="c@*", mail_from="sender@example.com")) == [
            "x.1"
        ]

    async def test_what_is_held_waits_until_it_is_released(self, store: Store) -> None:
        await put(store, "a@one.example", "b@two.example")
        assert await store.hold(Selection(destination="one.example")) == Count(1, 1)
        assert await store.due_destinations(NOW, limit=10) == ("two.example",)
        assert await claim_all(store, "one.example") == []
        assert await store.flush(EVERYTHING, now=NOW) == Count(1, 1)
        assert await store.hold(Selection(destination="one.example")) == Count(0, 0)
        assert await store.release(EVERYTHING) == Count(1, 1)
        assert len(await claim_all(store, "one.example")) == 1

    async def test_an_attempt_under_way_counts_although_it_is_held(self, store: Store) -> None:
        one, two = await put(store, "a@example.org", "b@example.org")
        await claim_all(store, "example.org")
        assert await store.hold(EVERYTHING) == Count(1, 2)
        outcomes: list[Outcome] = [Deferred(one.key, LATER, NOW + 5), Delivered(two.key, OK)]
        assert await store.record(outcomes, owner="me") == frozenset()
        assert await claim_all(store, "example.org", now=NOW + 5) == []
        await store.release(EVERYTHING)
        (delivery,) = await claim_all(store, "example.org", now=NOW + 5)
        assert delivery.diagnostic == LATER

    async def test_what_is_flushed_is_due_now_but_not_what_is_worked_on(self, store: Store) -> None:
        await put(store, "a@one.example", "b@two.example", due=NOW + 100)
        await claim_all(store, "two.example", now=NOW + 100)
        assert await store.flush(EVERYTHING, now=NOW + 1) == Count(1, 1)
        assert await store.due_destinations(NOW + 1, limit=10) == ("one.example",)

    async def test_what_is_rerouted_stands_in_another_queue(self, store: Store) -> None:
        one, two = await put(store, "a@one.example", "b@two.example")
        await claim_all(store, "two.example")
        assert await store.reroute(EVERYTHING, "smtp://relay:25") == Count(1, 2)
        assert await store.due_destinations(NOW, limit=10) == ("smtp://relay:25",)
        await store.record([Deferred(two.key, LATER, NOW)], owner="me")
        (first, second) = await claim_all(store, "smtp://relay:25")
        assert (first.next_hop, first.domain, first.key) == ("smtp://relay:25", "one.example", one.key)
        await store.unclaim([first.key, second.key], owner="me", due=NOW)
        await store.reroute(Selection(destination="smtp:*"), "")
        assert await store.due_destinations(NOW, limit=10) == ("one.example", "two.example")

    async def test_what_is_bounced_is_to_be_reported(self, store: Store) -> None:
        await put(store, "a@one.example", "b@two.example", "c@three.example")
        await store.hold(Selection(destination="three.example"))
        await claim_all(store, "one.example")
        assert await store.bounce(EVERYTHING, NEVER, now=NOW + 1) == Count(1, 2)
        (request,) = await store.claim_reports(lease=MINE, now=NOW + 1, limit=10)
        assert [each.number for each in request.deliveries] == [1, 2]
        assert {each.state for each in request.deliveries} == {State.FAILED}
        assert {each.diagnostic for each in request.deliveries} == {NEVER}
        assert await store.bounce(EVERYTHING, NEVER, now=MINE.until) == Count(1, 1)

    async def test_what_is_removed_is_gone_without_a_word(self, store: Store) -> None:
        one, two = await put(store, "a@one.example", "b@two.example", content=LARGE)
        await claim_all(store, "one.example")
        assert await store.remove(Selection(destination="two.example")) == Count(1, 1)
        assert await read(store, two.message_id) == LARGE
        assert await store.remove(EVERYTHING) == Count(1, 1)
        assert await store.record([Deferred(one.key, LATER, NOW)], owner="me") == {one.key}
        assert await store.next_due() is None
        assert await store.remove(EVERYTHING) == Count(0, 0)

    async def test_many_are_steered_at_once(self, store: Store) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(40):
                names = [f"u{each}@example.org" for each in range(30)]
                nursery.start_soon(
                    lambda each, names: put(store, *names, queued=message(each)), f"Y{number}", names
                )
        assert await store.hold(EVERYTHING) == Count(40, 1200)
        assert await store.release(EVERYTHING) == Count(40, 1200)
        assert await store.remove(Selection(recipient="u1*")) == Count(40, 40 * 11)
        assert await store.remove(EVERYTHING) == Count(40, 40 * 19)

    async def test_who_took_a_delivery_is_named_until_it_is_reported(self, store: Store) -> None:
        one, two = await put(store, "a@one.example", "b@one.example", lease=MINE)
        outcomes = [Delivered(one.key, OK, NOW + 60, "lmtp://box"), Delivered(two.key, OK, NOW + 60)]
        await store.record(outcomes, owner="me")
        (request,) = await store.claim_reports(lease=MINE, now=NOW + 60, limit=10)
        assert [each.next_hop for each in request.deliveries] == ["lmtp://box", ""]

    async def test_the_queue_is_told_in_numbers(self, store: Store) -> None:
        empty = await store.stats()
        assert (empty.messages, empty.recipients, empty.octets, empty.oldest, empty.leased) == (
            0,
            0,
            0,
            None,
            0,
        )
        assert empty.destinations == ()
        await put(store, "a@one.example", "b@one.example", "c@two.example", due=NOW + 7)
        (failed,) = await put(store, queued=message(arrived=NOW - 9), lease=MINE)
        await store.record([Failed(failed.key, NEVER, NOW)], owner="me")
        await claim_all(store, "two.example", now=NOW + 7)
        await store.hold(Selection(recipient="a@*"))

        stats = await store.stats()
        assert (stats.messages, stats.recipients, stats.oldest) == (2, 4, NOW - 9)
        assert (stats.octets, stats.leased) == (2 * len(SMALL), 1)
        assert dict(stats.states) == {State.WAITING: 2, State.HELD: 1, State.FAILED: 1}
        one, two = stats.destinations
        assert (one.name, one.recipients, one.leased, one.next_due) == ("one.example", 2, 0, NOW + 7)
        assert dict(one.states) == {State.WAITING: 1, State.HELD: 1}
        assert (two.name, two.recipients, two.leased) == ("two.example", 1, 1)
        assert [each.name for each in (await store.stats(destinations=1)).destinations] == ["one.example"]

    async def test_a_clock_that_was_set_back_moves_what_was_timed_by_it(self, store: Store) -> None:
        await put(store, "a@waiting.example", due=NOW)
        (tried,) = await put(store, "a@tried.example", lease=MINE)
        await store.record([Deferred(tried.key, LATER, NOW + 300)], owner="me")
        (failed,) = await put(store, "a@failed.example", lease=MINE)
        await store.record([Failed(failed.key, NEVER, NOW + 60)], owner="me")
        await put(store, "a@leased.example", lease=MINE)

        yesterday = NOW - 86400
        await store.shift_times(ClockSet(-86400.0, yesterday))
        assert await store.due_destinations(yesterday - 1, limit=10) == ()
        assert await store.due_destinations(yesterday, limit=10) == ("waiting.example",)
        assert "tried.example" not in await store.due_destinations(yesterday + 299, limit=10)
        assert "tried.example" in await store.due_destinations(yesterday + 300, limit=10)
        assert "leased.example" in await store.due_destinations(yesterday + 600, limit=10)
        assert len(await store.claim_reports(lease=MINE, now=yesterday + 60, limit=10)) == 1

    async def test_a_clock_that_was_set_makes_no_mail_older(self, store: Store) -> None:
        timed = replace(message(), deliver_by=NOW + 60.0, params=MailParameters(by=DeliverBy(60, "R")))
        await put(store, queued=timed)
        await store.shift_times(ClockSet(86400.0, NOW + 86410))
        (request,) = (await store.select(EVERYTHING, limit=10)).requests
        assert request.message == replace(timed, arrived=NOW + 86400, deliver_by=NOW + 86460)
        assert request.deliveries[0].due == NOW + 86400

    async def test_an_hour_that_the_sender_has_named_stays_when_the_clock_is_set(self, store: Store) -> None:
        until = datetime.fromtimestamp(NOW + 7200, UTC)
        named = replace(message(), hold_until=NOW + 7200, params=MailParameters(hold_until=until))
        counted = replace(message(), hold_until=NOW + 7200, params=MailParameters(hold_for=7200))
        for held in (named, counted):
            await put(store, queued=held, due=NOW + 7200)
        await store.shift_times(ClockSet(3600.0, NOW + 3610))
        found = (await store.select(EVERYTHING, limit=10)).requests
        assert [each.message.hold_until for each in found] == [NOW + 7200, NOW + 10800]
        assert [each.deliveries[0].due for each in found] == [NOW + 7200, NOW + 10800]

    async def test_mail_of_another_clock_than_the_one_that_was_set_stays(self, store: Store) -> None:
        await put(store, queued=message(arrived=NOW - 86400), due=NOW + 300)
        years = 30 * 365 * 86400.0  # such as that of a machine that starts without a battery
        await store.shift_times(ClockSet(years, NOW))
        (request,) = (await store.select(EVERYTHING, limit=10)).requests
        assert (request.message.arrived, request.deliveries[0].due) == (NOW - 86400, NOW + 300)

    # The end.

    async def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        (delivery,) = await put(store)
        await store.aclose()
        await store.aclose()
        for use in (
            lambda: put(store),
            lambda: store.next_due(),
            lambda: store.stats(),
            lambda: store.open_content(delivery.message_id),
            lambda: store.contents([delivery.message_id]),
            lambda: store.record([Delivered(delivery.key, OK)], owner="me"),
            lambda: store.hold(EVERYTHING),
        ):
            with pytest.raises(StoreUnavailable):
                await use()

    async def test_what_is_begun_when_the_store_closes_is_finished(self, store: Store) -> None:
        done: list[bool] = []

        async def commit() -> None:
            await put(store)
            done.append(True)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked()
            await store.aclose()
        assert len(done) == 20
