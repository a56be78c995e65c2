"""What operators see of the queue, and what they change in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harakapy.log import silent_logger
from harakapy.outbound.steering import MAX_LISTED, Deliverer, Steering
from harakapy.outbound.steering_request import Problem, RequestRefused, SteeringRequest, parse_request
from harakapy.outbound.steering_view import masked
from harakapy.queue import (
    ContentUnreadable,
    Deferred,
    DeliveryRequest,
    Failed,
    Selection,
    SqliteStore,
    Store,
)
from harakapy.queue.memory_store import MemoryStore
from tests.queue.samples import LATER, MINE, NEVER, NOW, claim_all, message, put

CHANGES = ("hold", "release", "remove", "bounce", "reroute")


class Desk:
    """An operator at a desk: asks, and keeps the parts of the answers."""

    def __init__(self, store: Store, deliverer: Deliverer | None = None) -> None:
        self.store = store
        self.now = NOW
        self.parts: list[dict[str, Any]] = []
        self.steering = Steering(store, lambda: self.now, deliverer)

    async def ask(self, do: str, *, select: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        async def emit(part: dict[str, Any]) -> None:
            self.parts.append(part)

        self.parts = []
        if do == "reroute":
            more.setdefault("to", "relay.example.net")
        done = await self.steering.execute({"do": do, "select": select or {}, **more}, emit)
        assert json.loads(json.dumps([done, self.parts])) == [done, self.parts], "all of it is JSON"
        return done

    async def ids(self, **select: Any) -> set[str]:
        await self.ask("list", select=select)
        return {part["message"]["id"] for part in self.parts}

    async def states(self) -> dict[str, int]:
        found: dict[str, int] = (await self.ask("stats"))["states"]
        return {state: number for state, number in found.items() if number}


@pytest.fixture(params=["memory", "sqlite"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    if request.param == "memory":
        store: Store = MemoryStore()
    else:
        store = await SqliteStore.open(tmp_path / "queue", log=silent_logger())
    async with store:
        yield Desk(store)


async def some_of_each_state(store: Store) -> None:
    """One recipient for each state that there is, and one that is being worked on."""
    held, _ = await put(store, "held@held.test", "quarantined@other.test", queued=message("HELD"))
    await store.hold(Selection(message_ids=frozenset({held.message_id}), domain="held.test"))
    await put(store, "waiting@waiting.test", queued=message("WAITING"))
    await put(store, "failed@failed.test", queued=message("FAILED"))
    (failed,) = await claim_all(store, "failed.test")
    await store.record([Failed(failed.key, NEVER, report_at=NOW)], owner=MINE.owner)
    await put(store, "busy@busy.test", queued=message("BUSY"))
    await claim_all(store, "busy.test")


async def test_a_list_has_each_message_with_its_recipients(desk: Desk) -> None:
    await put(desk.store, "a@example.org", "b@example.net", queued=message("ONE", arrived=NOW - 60))
    await put(desk.store, "c@example.org", queued=message("TWO", mail_from=""))
    done = await desk.ask("list")
    assert done == {"listed": 2, "messages": 2, "recipients": 3}
    one, two = [part["message"] for part in desk.parts]
    assert (one["id"], one["sender"], one["age_s"], one["size"]) == ("ONE", "sender@example.com", 60.0, 24)
    assert [(each["recipient"], each["destination"]) for each in one["deliveries"]] == [
        ("a@example.org", "example.org"),
        ("b@example.net", "example.net"),
    ]
    assert two["sender"] == ""
    assert two["deliveries"][0]["state"] == "waiting"


async def test_a_limited_list_says_how_many_there_are(desk: Desk) -> None:
    for _ in range(5):
        await put(desk.store)
    assert await desk.ask("list", limit=2) == {"listed": 2, "messages": 5, "recipients": 5}
    assert len(desk.parts) == 2


async def test_a_message_with_many_recipients_is_listed_with_some_and_counted_with_all(desk: Desk) -> None:
    await put(desk.store, *(f"user{number}@example.org" for number in range(3000)), queued=message("MANY"))
    for _ in range(60):
        await put(desk.store)
    await desk.ask("list")
    many = desk.parts[0]["message"]
    assert (len(many["deliveries"]), many["recipients"]) == (MAX_LISTED, 3000)
    listed = [part["message"]["id"] for part in desk.parts]
    assert len(listed) == len(set(listed)) == 61


@pytest.mark.parametrize(
    ("select", "ids"),
    [
        ({"ids": ["A", "nonesuch"]}, {"A"}),
        ({"sender": "*@EXAMPLE.com"}, {"A", "C"}),
        ({"sender": "<>"}, {"B"}),
        ({"sender": ""}, {"B"}),
        ({"sender": "*"}, {"A", "B", "C"}),
        ({"recipient": "<user@one.test>"}, {"A"}),
        ({"domain": "*.TEST"}, {"A", "B"}),
        ({"domain": "bücher.example"}, {"C"}),
        ({"domain": "*.bücher.example"}, set()),
        ({"destination": "relay.test"}, {"B"}),
        ({"states": ["held", "failed"]}, {"C"}),
        ({"error": "REFUSED"}, {"A"}),
        ({"error": ""}, {"A"}),
        ({"older_than_s": 3600}, {"A"}),
        ({"newer_than_s": 3600.0}, {"B", "C"}),
        ({"newer_than_s": 3600, "domain": "two.test"}, {"B"}),
    ],
)
async def test_a_selection_means(desk: Desk, select: dict[str, Any], ids: set[str]) -> None:
    (late,) = await put(desk.store, "user@one.test", queued=message("A", arrived=NOW - 7200))
    await claim_all(desk.store, "one.test")
    await desk.store.record([Deferred(late.key, LATER, due=NOW + 60)], owner=MINE.owner)
    await put(desk.store, "user@two.test", queued=message("B", mail_from=""))
    await desk.store.reroute(Selection(message_ids=frozenset({"B"})), "relay.test")
    await put(desk.store, "user@bücher.example", queued=message("C"))
    await desk.store.hold(Selection(message_ids=frozenset({"C"})))
    assert await desk.ids(**select) == ids


@pytest.mark.parametrize("do", CHANGES)
@pytest.mark.parametrize("select", [{}, {"sender": "*"}, {"recipient": "**", "domain": "*"}])
async def test_nothing_is_done_to_everything_unsaid(do: str, select: dict[str, Any]) -> None:
    desk = Desk(MemoryStore())
    await put(desk.store)
    with pytest.raises(RequestRefused, match="--all") as refused:
        await desk.ask(do, select=select)
    assert refused.value.problem is Problem.REFUSED
    assert await desk.states() == {"waiting": 1}
    await desk.ask(do, select=select, all=True)


async def test_all_and_a_selection_contradict_each_other() -> None:
    with pytest.raises(RequestRefused, match="contradict"):
        await Desk(MemoryStore()).ask("remove", select={"domain": "example.org"}, all=True)


async def test_flush_needs_no_selection(desk: Desk) -> None:
    await put(desk.store, due=NOW + 3600)
    done = await desk.ask("flush")
    assert (done["messages"], done["recipients"]) == (1, 1)
    assert await desk.store.due_destinations(NOW, limit=10) == ("example.org",)


@pytest.mark.parametrize("do", [*CHANGES, "flush"])
async def test_a_dry_run_changes_nothing_and_counts_what_then_is_changed(desk: Desk, do: str) -> None:
    await some_of_each_state(desk.store)
    before = await desk.ask("list"), desk.parts
    planned = await desk.ask(do, all=True, dry_run=True)
    assert (await desk.ask("list"), desk.parts) == before
    done = await desk.ask(do, all=True)
    assert 0 < done["recipients"] <= 5
    assert {**planned, "dry_run": False} == done
    assert done["selected"] == {"messages": 4, "recipients": 5}


@pytest.mark.parametrize(
    ("do", "after"),
    [
        ("hold", {"held": 4, "failed": 1}),  # an attempt under way is finished, and its result counts
        ("release", {"waiting": 4, "failed": 1}),
        ("bounce", {"failed": 4, "waiting": 1}),
        ("remove", {}),
    ],
)
async def test_what_a_change_does(desk: Desk, do: str, after: dict[str, int]) -> None:
    await some_of_each_state(desk.store)
    await desk.ask(do, all=True)
    assert await desk.states() == after


async def test_a_bounced_message_is_reported_with_the_reason_given(desk: Desk) -> None:
    await put(desk.store, queued=message("GONE"))
    await desk.ask("bounce", select={"ids": ["GONE"]}, text="wrong\r\nSubject: x")
    (request,) = await desk.store.claim_reports(lease=MINE, now=NOW, limit=1)
    diagnostic = request.deliveries[0].diagnostic
    assert diagnostic is not None
    assert diagnostic.text == "wrong\\x0d\\x0aSubject: x"
    assert str(diagnostic.status) == "5.0.0"


async def test_reroute_sends_elsewhere_and_back(desk: Desk) -> None:
    await put(desk.store, queued=message("ONE"))
    await desk.ask("reroute", select={"ids": ["ONE"]}, to="smtp://user:secret@relay.test:587")
    found = (await desk.ask("stats"))["destinations"]
    assert [*found] == ["smtp://user:*@relay.test:587"]
    assert await desk.ids(destination=next(iter(found))) == {"ONE"}
    await desk.ask("reroute", select={"ids": ["ONE"]}, to="")
    assert [*(await desk.ask("stats"))["destinations"]] == ["example.org"]


async def test_queues_that_differ_in_the_password_are_counted_together(desk: Desk) -> None:
    for number, due in ((1, NOW + 5), (2, NOW + 3)):
        await put(desk.store, queued=message(f"M{number}"), due=due)
        await desk.ask("reroute", select={"ids": [f"M{number}"]}, to=f"smtp://user:pass{number}@relay.test")
    (found,) = (await desk.ask("stats"))["destinations"].values()
    assert (found["recipients"], found["waiting"], found["next_due_s"]) == (2, 2, 3.0)


@pytest.mark.parametrize("to", ["smtp://", "gopher://example.org", "two words"])
async def test_a_next_hop_that_is_none_is_refused(to: str) -> None:
    desk = Desk(MemoryStore())
    await put(desk.store)
    with pytest.raises(RequestRefused) as refused:
        await desk.ask("reroute", all=True, to=to)
    assert refused.value.problem is Problem.REFUSED


async def test_statistics_count_by_state_and_destination(desk: Desk) -> None:
    await some_of_each_state(desk.store)
    desk.now += 30
    found = await desk.ask("stats")
    assert (found["messages"], found["recipients"], found["oldest_s"]) == (4, 5, 30.0)
    assert found["states"] == {"waiting": 3, "held": 1, "quarantined": 0, "delivered": 0, "failed": 1}
    assert found["worked_on"] == 1
    assert found["destinations"]["held.test"] == {
        "recipients": 1, "waiting": 0, "held": 1, "quarantined": 0, "worked_on": 0, "next_due_s": None,
    }  # fmt: skip
    assert len((await desk.ask("stats", destinations=2))["destinations"]) == 2


async def test_an_empty_queue_has_no_age(desk: Desk) -> None:
    assert (await desk.ask("stats"))["oldest_s"] == 0


class Told(Deliverer):
    """An engine that remembers what it is told, and what the store had then."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()
        self.heard: list[tuple[str, int]] = []
        self.requests: list[SteeringRequest] = []

    def limits(self, request: DeliveryRequest) -> Sequence[str]:
        return [f"{request.deliveries[0].destination} has answered 421"]

    async def withdraw(self, selection: Selection) -> None:
        self.heard.append(("withdraw", (await self.store.count(selection)).recipients))

    def wake(self, request: SteeringRequest) -> None:
        self.heard.append(("wake", 0))
        self.requests.append(request)


@pytest.fixture
def told() -> Told:
    return Told()


async def test_the_engine_hears_before_and_after_a_change(told: Told) -> None:
    desk = Desk(told.store, told)
    await put(desk.store)
    await desk.ask("remove", select={"domain": "example.org"}, dry_run=True)
    assert told.heard == []
    await desk.ask("remove", select={"domain": "example.org"})
    assert told.heard == [("withdraw", 1), ("wake", 0)]
    assert told.requests[0].selection.domain == "example.org"
    await desk.ask("wake")
    assert told.heard[2:] == [("wake", 0)]


async def test_show_says_what_holds_each_destination_up(told: Told) -> None:
    desk = Desk(told.store, told)
    tried, _, _ = await put(
        desk.store, "a@tried.test", "b@held.test", "c@busy.test", queued=message("WHY"), due=NOW - 10
    )
    await desk.store.hold(Selection(domain="held.test"))
    await claim_all(desk.store, "tried.test")
    await desk.store.record([Deferred(tried.key, LATER, due=NOW + 300)], owner=MINE.owner)
    await claim_all(desk.store, "busy.test")
    found = await desk.ask("show", id="WHY")
    why = {each["destination"]: each for each in found["why"]}
    assert why["tried.test"]["reasons"] == [
        "attempt 1 of 2027-01-15 08:00:00Z, failed; the next try is at 2027-01-15 08:05:00Z"
    ]
    assert why["tried.test"]["limits"] == ["tried.test has answered 421"]
    assert why["tried.test"]["next_try_s"] == 300.0
    assert why["tried.test"]["last_replies"] == [
        {"error": "connection refused", "status": "4.4.1", "host": "mx.example.org"}
    ]
    assert why["held.test"]["reasons"] == ["it is held until somebody releases it"]
    assert why["held.test"]["limits"] == []
    assert why["held.test"]["next_try"] is None
    assert why["busy.test"]["reasons"] == ["it is being worked on, attempt 1 of 2027-01-15 08:00:00Z"]
    assert found["header"] == "Subject: small\r\n"
    assert found["sender"] == "sender@example.com"
    assert len(found["deliveries"]) == 3


@pytest.mark.parametrize(
    ("due", "hold_until", "text"),
    [
        (NOW - 60, None, "it is due since 2027-01-15 07:59:00Z, and waits for its turn"),
        (NOW + 60, NOW + 60, "its sender asked to hold it back; the first try is at 2027-01-15 08:01:00Z"),
        (NOW + 60, None, "it is not due yet; the first try is at 2027-01-15 08:01:00Z"),
    ],
)
async def test_show_says_of_what_was_never_tried(
    desk: Desk, due: float, hold_until: float | None, text: str
) -> None:
    await put(desk.store, queued=replace(message("NEW"), hold_until=hold_until), due=due)
    (why,) = (await desk.ask("show", id="NEW"))["why"]
    assert why["reasons"] == [text]
    assert "no server is running" in why["limits"][0]


async def test_show_of_an_unknown_message_is_refused(desk: Desk) -> None:
    with pytest.raises(RequestRefused, match="NONE") as refused:
        await desk.ask("show", id="NONE")
    assert refused.value.problem is Problem.NOT_FOUND


async def test_show_works_without_the_content() -> None:
    class Damaged(MemoryStore):
        async def open_content(self, message_id: str) -> Any:
            raise ContentUnreadable(message_id, "a hole")

    desk = Desk(Damaged())
    await put(desk.store, queued=message("BAD"))
    found = await desk.ask("show", id="BAD")
    assert found["header"] is None
    assert "a hole" in found["header_problem"]


async def test_a_large_change_tells_how_far_it_came(desk: Desk) -> None:
    for _ in range(300):
        await put(desk.store)
    done = await desk.ask("hold", all=True)
    assert done["messages"] == 300
    progress = [part["progress"] for part in desk.parts]
    assert [each["messages"] for each in progress] == sorted({each["messages"] for each in progress})
    assert len(progress) > 1
    assert progress[-1] == {"messages": 300, "of": 300}


async def test_who_stops_listening_stops_the_change_between_two_pages(told: Told) -> None:
    desk = Desk(told.store, told)
    for _ in range(300):
        await put(desk.store)

    async def emit(part: dict[str, Any]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await desk.steering.execute({"do": "hold", "all": True}, emit)
    held = (await desk.states())["held"]
    assert 0 < held < 300
    assert told.heard[-1] == ("wake", 0)


async def test_trouble_of_the_store_is_told(desk: Desk) -> None:
    await desk.store.aclose()
    with pytest.raises(RequestRefused) as refused:
        await desk.ask("stats")
    assert refused.value.problem is Problem.STORE


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"do": "explode"},
        {"do": ["list"]},
        {"do": "list", "colour": 1},
        {"do": "list", "select": []},
        {"do": "list", "select": {"colour": 1}},
        {"do": "list", "select": {"sender": 5}},
        {"do": "list", "select": {"sender": "a" * 501}},
        {"do": "list", "select": {"sender": "\ud800"}},
        {"do": "list", "select": {"ids": [1]}},
        {"do": "list", "select": {"ids": ["a"] * 10_001}},
        {"do": "list", "select": {"states": ["asleep"]}},
        {"do": "list", "select": {"older_than_s": True}},
        {"do": "list", "limit": -1},
        {"do": "list", "limit": True},
        {"do": "show"},
        {"do": "hold", "all": 1},
        {"do": "reroute", "all": True},
    ],
)
def test_a_malformed_request_is_refused(raw: object) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_request(raw, now=NOW)
    assert refused.value.problem is Problem.MALFORMED


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_REQUESTS = st.fixed_dictionaries(
    {"do": st.sampled_from(["list", "show", "hold", "reroute", "remove"])},
    optional={
        "select": st.dictionaries(
            st.sampled_from(["ids", "sender", "domain", "states", "older_than_s", "error"]), _JSON, max_size=3
        ),
        "all": _JSON,
        "limit": _JSON,
        "to": _JSON,
    },
)


@given(raw=_JSON | _REQUESTS)
def test_whatever_is_asked_is_a_request_or_refused(raw: object) -> None:
    try:
        request = parse_request(raw, now=NOW)
    except RequestRefused:
        return
    assert isinstance(raw, dict)
    assert request.operation.value == raw["do"]
    is_everything = request.selection == Selection()
    assert not request.is_change or not is_everything or raw.get("all") is True


@given(user=st.text("abc", max_size=3), password=st.text("abc:@*", min_size=1, max_size=8))
def test_a_masked_next_hop_hides_the_password_and_still_selects(user: str, password: str) -> None:
    destination = f"smtp://{user}:{password}@relay.test:587"
    hidden = masked(destination)
    assert hidden == f"smtp://{user}:*@relay.test:587"
    queued = message("ONE")
    request = trio.run(_routed, queued, destination)
    assert Selection(destination=hidden).matches(queued, request.deliveries[0])


async def _routed(queued: Any, destination: str) -> DeliveryRequest:
    store = MemoryStore()
    await put(store, queued=queued)
    await store.reroute(Selection(), destination)
    return (await store.select(Selection(), limit=1)).requests[0]


@pytest.mark.parametrize("hop", ["example.org", "[192.0.2.1]", "smtp://relay.test", "lmtp:///run/a@b.sock"])
def test_a_next_hop_without_a_password_is_shown_as_it_is(hop: str) -> None:
    assert masked(hop) == hop
