"""delay_deny: refuse at RCPT what was refused before, so that it is known who would have got the mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Self

from msgspec import Struct
from msgspec.structs import replace
from pydantic import AfterValidator, Field, model_validator

from harakapy import DENY, DENYSOFT, OK, Connection, Plugin, PluginConfig, Verdict, hookimpl

DEFAULT_TEXTS = {
    "lookup_rdns": "rDNS Lookup Failed",
    "connect": "Your mail is not welcome here",
    "helo": "HELO denied",
    "ehlo": "EHLO denied",
    "mail": "sender <{sender}> denied",
}
"""{hook that comes before RCPT: what a denial without a text of its own would have said there}."""

_CLOSING_CODES = (421, 521)  # who reads one of these takes the connection for closed (RFC 5321 3.8, RFC 7504)


def _plugin_or_hook(name: str) -> str:
    plugin, colon, hook = name.partition(":")
    if not plugin or (colon and hook not in DEFAULT_TEXTS):
        hooks = ", ".join(DEFAULT_TEXTS)
        raise ValueError(f"must be the name of a plugin, or NAME:HOOK with one of the hooks {hooks}")
    return name


Names = tuple[Annotated[str, AfterValidator(_plugin_or_hook)], ...]


class DelayDenyConfig(PluginConfig):
    """The settings of `DelayDeny`."""

    included_plugins: Names = Field(
        (),
        description=(
            "Postpone the denials of these plugins only. A name may be followed by a hook: `spf:mail`. Not "
            "together with `excluded_plugins`."
        ),
        examples=[["fcrdns", "helo_checks:ehlo"]],
    )
    excluded_plugins: Names = Field(
        (),
        description="Postpone the denials of all plugins but these. A name may be followed by a hook.",
        examples=[["access", "spf:mail"]],
    )

    @model_validator(mode="after")
    def _check_one_list(self) -> Self:
        if self.included_plugins and self.excluded_plugins:
            raise ValueError("has included_plugins and excluded_plugins; only one of them can hold")
        return self


class HeldDenial(Struct, frozen=True):
    """A denial that waits; ``transaction`` is the uuid of the one it is about, "" for the connection."""

    plugin: str
    hook: str
    transaction: str
    verdict: Verdict


class DelayDeny(Plugin[DelayDenyConfig]):
    """Postpones what other plugins refuse before RCPT until there is a recipient, and waives it for those who
    may relay.

    A client refused at ``connect`` or ``mail`` never says for whom its mail is, and users of yours who come
    from a bad address never get to authenticate. With this plugin they do.

    Hooks: ``deny`` answers OK to denials on lookup_rdns, connect, helo, ehlo and mail, so that the client
    goes on, and holds them. ``rcpt_ok`` gives the first one held to each recipient that would be accepted,
    unless the client is relaying by then; ``data`` does the same for a message whose recipients another
    plugin has accepted before this one was asked, so that no denial is ever lost. Those of ``mail`` end with
    the transaction, the others with the connection. Later denials, from ``rcpt`` on, take effect at once.

    A denial keeps its text, and its code unless that says that the connection is closed; one without gets
    the text that its hook would have given. DENYDISCONNECT and DENYSOFTDISCONNECT close when they are given.

    Results on the connection: ``msg`` gets ``postponed PLUGIN:HOOK``, ``skip`` gets ``PLUGIN:HOOK(relay)``
    when a message is let through for relaying.

    Haraka's counterpart: delay_deny. There denials on ``rcpt`` and ``rcpt_ok`` are held as well, which turns
    a temporary one into ``550`` or gives it to the next recipient, and plugins whose denials were waived are
    named in a header, X-Haraka-Fail-Pre.
    """

    @hookimpl
    def hook_deny(self, connection: Connection, verdict: Verdict, plugin: str, hook: str) -> Verdict | None:
        """Hold a denial, if it comes early enough."""
        if hook not in DEFAULT_TEXTS or not self._is_postponed(plugin, hook):
            return None
        transaction = connection.transaction
        uuid = transaction.uuid if transaction is not None and hook == "mail" else ""
        held = [each for each in _held(connection) if each.transaction in ("", uuid)]
        if not any((each.plugin, each.hook, each.transaction) == (plugin, hook, uuid) for each in held):
            held.append(HeldDenial(plugin, hook, uuid, verdict))
        # On the connection and not on the transaction, whose notes may be stored with the message.
        connection.notes["delay_deny"] = held
        connection.results.add(self, msg=f"postponed {plugin}:{hook}")
        return OK

    @hookimpl(tryfirst=True)
    def hook_rcpt_ok(self, connection: Connection) -> Verdict | None:
        """Refuse a recipient for what was held."""
        denial = _first_held(connection)
        return None if denial is None or connection.relaying else _given(denial, connection)

    @hookimpl(around=True, tryfirst=True)
    async def hook_data(self, connection: Connection, *, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Refuse a message for what is still held, whatever others say."""
        denial = _first_held(connection)
        if denial is None:
            return await proceed()
        if not connection.relaying:
            return _given(denial, connection)
        connection.results.add(self, skip=f"{denial.plugin}:{denial.hook}(relay)")
        return await proceed()

    def _is_postponed(self, plugin: str, hook: str) -> bool:
        names = (plugin, f"{plugin}:{hook}")
        if included := self.config.included_plugins:
            return any(name in included for name in names)
        return not any(name in self.config.excluded_plugins for name in names)


def _held(connection: Connection) -> list[HeldDenial]:
    held: list[HeldDenial] = connection.notes.get("delay_deny", [])
    return held


def _first_held(connection: Connection) -> HeldDenial | None:
    """The first denial that concerns the transaction under way."""
    transaction = connection.transaction
    assert transaction is not None, "there are recipients"
    return next((each for each in _held(connection) if each.transaction in ("", transaction.uuid)), None)


def _given(denial: HeldDenial, connection: Connection) -> Verdict:
    """The denial in a form that fits a reply to RCPT or DATA."""
    verdict, transaction = denial.verdict, connection.transaction
    assert transaction is not None, "there are recipients"
    text = verdict.text or DEFAULT_TEXTS[denial.hook].format(sender=transaction.mail_from.address)
    stays_open = verdict.action in (DENY.action, DENYSOFT.action)
    code = None if stays_open and verdict.code in _CLOSING_CODES else verdict.code
    return replace(verdict, text=text, code=code)
