"""What is in the queue as JSON values, for programs and for the tables that people read.

Times are seconds of the wall clock since the epoch; what ends in ``_s`` is seconds from now or until now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from harakapy.queue import (
    Delivery,
    DeliveryRequest,
    DestinationStats,
    Diagnostic,
    QueuedMessage,
    QueueStats,
    State,
)
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
)

__all__ = ["by_destination", "is_worked_on", "masked", "message_view", "reason", "stats_view", "why_view"]

MAX_REPLIES: Final = 5  # different ones told of a destination; picked: more is what `deliveries` are for

_PASSWORD = re.compile(r"(://[^:@/]*:).*@")


def masked(next_hop: str) -> str:
    """A next hop without its password; the ``*`` for it makes it a pattern that selects the queue."""
    if "@" not in next_hop:
        return next_hop
    return _PASSWORD.sub(r"\1*@", next_hop)


def is_worked_on(delivery: Delivery, now: float) -> bool:
    """Whether somebody has claimed it."""
    return delivery.lease is not None and delivery.lease.until > now


def message_view(request: DeliveryRequest, now: float, *, max_deliveries: int) -> dict[str, Any]:
    """A message with some of its selected deliveries; ``recipients`` is how many there are of them in all."""
    message = request.message
    return {
        "id": message.id,
        "sender": message.mail_from.original,
        "size": message.size,
        "arrived": message.arrived,
        "age_s": max(now - message.arrived, 0.0),
        "priority": message.priority,
        "parameters": _parameters(message.params),
        "deliver_by": message.deliver_by,
        "hold_until": message.hold_until,
        "is_delay_reported": bool(message.told),
        "recipients": len(request.deliveries),
        "deliveries": [_delivery_view(each, now) for each in request.deliveries[:max_deliveries]],
    }


def _delivery_view(delivery: Delivery, now: float) -> dict[str, Any]:
    return {
        "recipient": delivery.recipient.address.original,
        "parameters": _parameters(delivery.recipient.params),
        "domain": delivery.domain,
        "destination": masked(delivery.destination),
        "is_rerouted": bool(delivery.next_hop),
        "state": delivery.state.value,
        "is_worked_on": is_worked_on(delivery, now),
        "attempts": delivery.attempts,
        "last_attempt": delivery.last_attempt,
        "due": delivery.due,
        "due_in_s": max(delivery.due - now, 0.0),
        **_diagnostic_view(delivery.diagnostic),
    }


def _parameters(params: MailParameters | RcptParameters) -> dict[str, str | None]:
    if params is NO_MAIL_PARAMETERS or params is NO_RCPT_PARAMETERS:  # of most messages, a hundred thousand
        return {}
    return dict(params.raw)


def _diagnostic_view(diagnostic: Diagnostic | None) -> dict[str, Any]:
    if diagnostic is None:
        return {"error": None, "status": None, "host": None}
    status = None if diagnostic.status is None else str(diagnostic.status)
    return {"error": diagnostic.text, "status": status, "host": diagnostic.host or None}


def stats_view(stats: QueueStats, now: float) -> dict[str, Any]:
    """The queue in numbers; ``oldest_s`` is the age of the oldest message, 0 if there is none."""
    return {
        "messages": stats.messages,
        "recipients": stats.recipients,
        "octets": stats.octets,
        "oldest_s": 0.0 if stats.oldest is None else max(now - stats.oldest, 0.0),
        "worked_on": stats.leased,
        "states": _state_counts(stats.states, State),
        "destinations": _destinations_view(stats.destinations, now),
    }


def _destinations_view(found: Iterable[DestinationStats], now: float) -> dict[str, Any]:
    """Each queue by its name; those that differ in a password only are counted together."""
    views: dict[str, Any] = {}
    for stats in found:
        name, view = masked(stats.name), _destination_view(stats, now)
        views[name] = _sum(views[name], view) if name in views else view
    return views


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    soonest = min(
        (each for each in (one.pop("next_due_s"), other.pop("next_due_s")) if each is not None), default=None
    )
    return {**{key: number + other[key] for key, number in one.items()}, "next_due_s": soonest}


def _destination_view(stats: DestinationStats, now: float) -> dict[str, Any]:
    return {
        "recipients": stats.recipients,
        **_state_counts(stats.states, [state for state in State if not state.is_final]),
        "worked_on": stats.leased,
        "next_due_s": None if stats.next_due is None else max(stats.next_due - now, 0.0),
    }


def _state_counts(counts: Mapping[State, int], states: Iterable[State]) -> dict[str, int]:
    return {state.value: counts.get(state, 0) for state in states}


def by_destination(request: DeliveryRequest) -> list[DeliveryRequest]:
    """The message once for each queue in which it stands, with its deliveries there."""
    groups: dict[str, list[Delivery]] = {}
    for delivery in request.deliveries:
        groups.setdefault(delivery.destination, []).append(delivery)
    return [DeliveryRequest(request.message, tuple(group)) for group in groups.values()]


def why_view(group: DeliveryRequest, limits: Sequence[str], now: float) -> dict[str, Any]:
    """Why what stands in one queue waits: ``limits`` are what holds up that queue itself."""
    deliveries = group.deliveries
    reasons = dict.fromkeys(reason(group.message, each, now) for each in deliveries)
    replies = dict.fromkeys(each.diagnostic for each in deliveries if each.diagnostic is not None)
    waiting = [each.due for each in deliveries if each.state is State.WAITING]
    return {
        "destination": masked(deliveries[0].destination),
        "recipients": len(deliveries),
        "reasons": [*reasons],
        "limits": [*limits],
        "next_try": min(waiting, default=None),
        "next_try_s": max(min(waiting) - now, 0.0) if waiting else None,
        "last_replies": [_diagnostic_view(each) for each in [*replies][:MAX_REPLIES]],
    }


def reason(message: QueuedMessage, delivery: Delivery, now: float) -> str:
    """What has to happen before this delivery goes on, as far as the store tells."""
    if delivery.state is not State.WAITING:
        return _STATE_REASONS[delivery.state]
    if is_worked_on(delivery, now):
        return f"it is being worked on, {_attempt(delivery)}"
    if delivery.due <= now:
        return f"it is due since {_time(delivery.due)}, and waits for its turn"
    if not delivery.attempts:
        why = "its sender asked to hold it back" if message.hold_until else "it is not due yet"
        return f"{why}; the first try is at {_time(delivery.due)}"
    return f"{_attempt(delivery)}, failed; the next try is at {_time(delivery.due)}"


_STATE_REASONS: Final = {
    State.HELD: "it is held until somebody releases it",
    State.QUARANTINED: "it is quarantined, because something stored is unreadable; mend that and release it",
    State.DELIVERED: "it is delivered, and that is to be reported",
    State.FAILED: "it is given up, and that is to be reported",
}


def _attempt(delivery: Delivery) -> str:
    began = "" if delivery.last_attempt is None else f" of {_time(delivery.last_attempt)}"
    return f"attempt {delivery.attempts}{began}"


def _time(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%SZ}"
