"""What operators see of the queue and change in it: requests in, JSON values out.

The same code answers behind the control socket of a running server, and in a command that has opened the
store of a stopped one. Whatever the size of the queue, it is read page by page, and changed page by page: so
memory stays bounded, mail goes on meanwhile, and who asked hears how far it came and may stop it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from harakapy.mail.status import FAILED
from harakapy.outbound.steering_request import (
    Operation,
    Problem,
    RequestRefused,
    SteeringRequest,
    parse_request,
)
from harakapy.outbound.steering_view import by_destination, is_worked_on, message_view, stats_view, why_view
from harakapy.queue import (
    ContentUnreadable,
    Count,
    Delivery,
    DeliveryRequest,
    Diagnostic,
    MessageNotFound,
    Selection,
    State,
    Store,
    StoreError,
)

__all__ = ["Deliverer", "Emit", "Steering"]

MAX_LISTED: Final = 20  # recipients of each message in a list; all of them are counted. Picked
MAX_SHOWN: Final = 1000  # recipients of a message that is shown: half a megabyte. Picked
MAX_HEADER: Final = 65536  # octets of a header that is shown; picked

FIRST_PAGE: Final = 20
MAX_PAGE: Final = 500  # messages; a page of small ones is some 10 ms of a thread's work
PAGE_RECIPIENTS: Final = 2000  # aimed at, because a message may have one recipient or thousands

Emit = Callable[[dict[str, Any]], Awaitable[None]]
"""Takes a part of the answer: ``{"message": ...}`` or ``{"progress": {"messages": n, "of": m}}``."""


class Deliverer:
    """What delivers from the same store in this process; this one stands for none.

    The engine's stand-in derives from this. None of it may raise, or wait for long.
    """

    def limits(self, request: DeliveryRequest) -> Sequence[str]:
        """What holds up these deliveries, all to one destination, beyond what the store tells: sentences."""
        return ["no server is running that would deliver it"]

    async def withdraw(self, selection: Selection) -> None:
        """Give back what is claimed of the selection and not begun: it is about to be changed."""

    def wake(self, request: SteeringRequest) -> None:
        """Look at the queue again: this was asked for, and something may be due, or not wanted any more."""


class _Applies(Struct, frozen=True):
    """To which deliveries an operation applies, as the store has it."""

    states: frozenset[State]
    spares_work: bool = False
    """Whether what is being worked on stays as it is."""

    def to(self, delivery: Delivery, now: float) -> bool:
        return delivery.state in self.states and not (self.spares_work and is_worked_on(delivery, now))


_OPEN: Final = frozenset(state for state in State if not state.is_final)
_APPLIES: Final = {
    Operation.FLUSH: _Applies(frozenset({State.WAITING}), spares_work=True),
    Operation.HOLD: _Applies(frozenset({State.WAITING})),
    Operation.RELEASE: _Applies(frozenset({State.HELD, State.QUARANTINED})),
    Operation.REMOVE: _Applies(frozenset(State)),
    Operation.BOUNCE: _Applies(_OPEN, spares_work=True),
    Operation.REROUTE: _Applies(_OPEN),
}


class Steering:
    """Executes requests on a store."""

    def __init__(self, store: Store, clock: Callable[[], float], deliverer: Deliverer | None = None) -> None:
        """``clock`` is the wall clock that the store's times are of."""
        self._store = store
        self._clock = clock
        self._deliverer = deliverer or Deliverer()

    async def execute(self, raw: object, emit: Emit) -> dict[str, Any]:
        """Carry out what ``raw`` asks for (see `steering_request`); gives what is to be said at the end.

        Raises RequestRefused if it is malformed, unwise or names what is not there, and if the store fails;
        what was changed until then stays changed. So it does if this is cancelled, or ``emit`` raises.
        """
        request = parse_request(raw, now=self._clock())
        try:
            return await self._dispatch(request, emit)
        except StoreError as error:
            raise RequestRefused(Problem.STORE, str(error)) from error

    async def _dispatch(self, request: SteeringRequest, emit: Emit) -> dict[str, Any]:
        match request.operation:
            case Operation.LIST:
                return await self._list(request, emit)
            case Operation.SHOW:
                return await self._show(request.message_id)
            case Operation.STATS:
                stats = await self._store.stats(destinations=request.destinations)
                return stats_view(stats, self._clock())
            case Operation.WAKE:
                self._deliverer.wake(request)
                return {}
        return await self._change(request, emit)

    async def _list(self, request: SteeringRequest, emit: Emit) -> dict[str, Any]:
        found = await self._store.count(request.selection)
        pages, listed = _Pages(self._store, request.selection, request.limit), 0
        while page := await pages.following():
            for each in page:
                await emit({"message": message_view(each, self._clock(), max_deliveries=MAX_LISTED)})
            listed += len(page)
        return {"listed": listed, "messages": found.messages, "recipients": found.recipients}

    async def _show(self, message_id: str) -> dict[str, Any]:
        page = await self._store.select(Selection(message_ids=frozenset({message_id})), limit=1)
        if not page.requests:
            raise RequestRefused(Problem.NOT_FOUND, f"no message {message_id} is in the queue")
        request, now = page.requests[0], self._clock()
        why = [why_view(group, self._limits(group), now) for group in by_destination(request)[:MAX_SHOWN]]
        view = message_view(request, now, max_deliveries=MAX_SHOWN)
        return {**view, "why": why, **await self._header(message_id)}

    def _limits(self, group: DeliveryRequest) -> Sequence[str]:
        is_waiting = any(each.state is State.WAITING for each in group.deliveries)
        return self._deliverer.limits(group) if is_waiting else ()

    async def _header(self, message_id: str) -> dict[str, Any]:
        try:
            content = await self._store.open_content(message_id)
        except (ContentUnreadable, MessageNotFound) as error:
            return {"header": None, "header_problem": str(error)}
        with content:
            header = await trio.to_thread.run_sync(lambda: content.header_bytes[:MAX_HEADER])
        return {"header": header.decode("utf-8", "backslashreplace"), "header_problem": None}

    async def _change(self, request: SteeringRequest, emit: Emit) -> dict[str, Any]:
        selected = await self._store.count(request.selection)
        try:
            changed = await self._change_pages(request, selected.messages, emit)
        finally:
            if not request.is_dry_run:
                self._deliverer.wake(request)
        return {
            "messages": changed.messages,
            "recipients": changed.recipients,
            "selected": {"messages": selected.messages, "recipients": selected.recipients},
            "dry_run": request.is_dry_run,
        }

    async def _change_pages(self, request: SteeringRequest, of: int, emit: Emit) -> Count:
        pages, seen, changed = _Pages(self._store, request.selection), 0, Count()
        while page := await pages.following():
            changed += await self._change_page(request, page)
            seen += len(page)
            await emit({"progress": {"messages": seen, "of": max(of, seen)}})
        return changed

    async def _change_page(self, request: SteeringRequest, page: Sequence[DeliveryRequest]) -> Count:
        """Change what is selected of these messages; the store leaves alone to what it does not apply."""
        if request.is_dry_run:
            return _would_change(_APPLIES[request.operation], page, self._clock())
        store, now = self._store, self._clock()
        part = replace(request.selection, message_ids=frozenset(each.message.id for each in page))
        await self._deliverer.withdraw(part)
        match request.operation:
            case Operation.FLUSH:
                return await store.flush(part, now=now)
            case Operation.HOLD:
                return await store.hold(part)
            case Operation.RELEASE:
                return await store.release(part)
            case Operation.REMOVE:
                return await store.remove(part)
            case Operation.BOUNCE:
                return await store.bounce(part, Diagnostic(request.text, FAILED), now=now)
            case Operation.REROUTE:
                return await store.reroute(part, request.next_hop)
        raise AssertionError(f"{request.operation} changes nothing")


def _would_change(applies: _Applies, page: Sequence[DeliveryRequest], now: float) -> Count:
    numbers = [sum(applies.to(each, now) for each in request.deliveries) for request in page]
    return Count(sum(number > 0 for number in numbers), sum(numbers))


class _Pages:
    """A selection page by page, each with about as many recipients as are handled in one go."""

    def __init__(self, store: Store, selection: Selection, limit: int | None = None) -> None:
        self._store = store
        self._selection = selection
        self._left = limit
        self._size = FIRST_PAGE
        self._cursor: str | None = ""

    async def following(self) -> tuple[DeliveryRequest, ...]:
        """The next page; empty behind the last one."""
        found: tuple[DeliveryRequest, ...] = ()
        while not found and self._cursor is not None and self._left != 0:
            size = self._size if self._left is None else min(self._size, self._left)
            page = await self._store.select(self._selection, limit=size, after=self._cursor)
            found, self._cursor = page.requests, page.cursor  # empty before the end if rows are unreadable
        if found:
            recipients = sum(len(request.deliveries) for request in found)
            self._size = max(1, min(MAX_PAGE, PAGE_RECIPIENTS * len(found) // recipients))
        if self._left is not None:
            self._left -= len(found)
        return found
