from pathlib import Path
from typing import Any

import pytest

from harakapy import (
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    OK,
    Address,
    ConfigError,
    Connection,
    Plugin,
    Reply,
    Verdict,
    hookimpl,
)
from harakapy.config import validate_plugin
from harakapy.inbound.outcomes import OUTCOMES
from harakapy.plugins.delay_deny import DEFAULT_TEXTS, DelayDeny, DelayDenyConfig
from harakapy.plugins.relay import Relay

from .scene import CONTENT, Keep, Scene, mail_and_rcpt, problems


class Refuse(Plugin):
    """Gives one verdict on one hook, as often as it is asked, or only the first time."""

    def __init__(self, hook: str, verdict: Verdict, *, times: int = 99) -> None:
        super().__init__()
        self.verdict = verdict
        self.times = times
        self.register_hook(hook, self.refuse)

    def refuse(self) -> Verdict | None:
        self.times -= 1
        return self.verdict if self.times >= 0 else None


class Local(Plugin):
    """Accepts recipients in local.test."""

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict | None:
        return OK if recipient.host == "local.test" else None


def scene(folder: Path, *plugins: object, **settings: Any) -> Scene:
    return Scene(folder, DelayDeny(**settings), *plugins, Local(), Keep())


async def replies(folder: Path, *plugins: object, **settings: Any) -> list[Reply]:
    """To one message with one recipient."""
    async with scene(folder, *plugins, **settings).client() as client:
        return await client.hand_over("a@stranger.test", ["b@local.test"], CONTENT)


@pytest.mark.parametrize("hook", DEFAULT_TEXTS)
async def test_early_denials_are_given_at_rcpt(tmp_path: Path, hook: str) -> None:
    dns = {"dns": {"rdns": True}} if hook == "lookup_rdns" else {}
    denial = DENY("5.7.9 go\naway", code=554)
    async with Scene(tmp_path, DelayDeny(), Refuse(hook, denial), Local(), **dns).client() as client:
        assert (await client.command(f"{'HELO' if hook == 'helo' else 'EHLO'} client.example")).code == 250
        assert (await client.command("MAIL FROM:<a@stranger.test>")).code == 250
        result = [await client.command(f"RCPT TO:<b@{host}.test>") for host in ("local", "elsewhere")]
        assert result[0] == Reply(554, ("go", "away"), "5.7.9")
        assert result[1].text == "I cannot deliver mail for <b@elsewhere.test>"
        assert (await client.command("DATA")).code == 554


@pytest.mark.parametrize("hook", DEFAULT_TEXTS)
async def test_a_denial_without_a_text_says_what_it_would_have_said(tmp_path: Path, hook: str) -> None:
    told = OUTCOMES[hook][DENY.action].text.format(address="{sender}")
    assert DEFAULT_TEXTS[hook] == told


async def test_a_soft_denial_stays_soft(tmp_path: Path) -> None:
    result = await replies(tmp_path, Refuse("mail", DENYSOFT))
    assert result[:2] == [
        Reply(250, "sender <a@stranger.test> OK", "2.1.0"),
        Reply(450, "sender <a@stranger.test> denied", "4.7.1"),
    ]


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (DENYSOFT("later", code=421), 450),
        (DENY("never", code=521), 550),
        (DENYSOFTDISCONNECT("later", code=421), 421),
        (DENYDISCONNECT("never", code=521), 521),
    ],
)
async def test_only_a_reply_that_closes_says_so(tmp_path: Path, verdict: Verdict, code: int) -> None:
    async with scene(tmp_path, Refuse("connect", verdict)).client() as client:
        [reply] = await mail_and_rcpt(client, "b@local.test")
        assert reply.code == code
        if code in (421, 521):
            assert await client.reply() is None
        else:
            assert (await client.command("NOOP")).code == 250


async def test_the_first_denial_is_the_one_that_is_given(tmp_path: Path) -> None:
    plugins = [Refuse("ehlo", DENY("first")), Second("mail", DENY("second"))]
    assert (await replies(tmp_path, *plugins))[1].text == "first"


class Second(Refuse):
    """Another one."""


async def test_denials_of_the_sender_end_with_its_transaction(tmp_path: Path) -> None:
    async with scene(tmp_path, Refuse("mail", DENY("once"), times=1)).client() as client:
        assert [reply.code for reply in await mail_and_rcpt(client, "b@local.test")] == [550]
        await client.command("RSET")
        assert [reply.code for reply in await mail_and_rcpt(client, "b@local.test")] == [250]


async def test_denials_of_the_connection_last_as_long_as_it_does(tmp_path: Path) -> None:
    async with scene(tmp_path, Refuse("ehlo", DENY("once"), times=1)).client() as client:
        for _ in range(2):
            assert [reply.text for reply in await mail_and_rcpt(client, "b@local.test")] == ["once"]
            await client.command("EHLO another.example")


async def test_they_are_waived_for_who_may_relay(tmp_path: Path) -> None:
    keep = Keep()
    seen: list[dict[str, Any]] = []

    class Look(Plugin):
        @hookimpl
        def hook_disconnect(self, connection: Connection) -> None:
            seen.append(connection.results.get("delay_deny"))

    plugins = (DelayDeny(), Relay(acl=["192.0.2.1"]), Refuse("connect", DENY), Look(), keep)
    async with Scene(tmp_path, *plugins).client() as client:
        result = await client.hand_over("a@local.test", ["b@anywhere.test"], CONTENT)
    assert result[-1].code == 250
    assert len(keep.taken) == 1
    assert seen == [{"msg": ["postponed refuse:connect"], "skip": ["refuse:connect(relay)"]}]


async def test_a_recipient_accepted_behind_its_back_is_refused_at_data(tmp_path: Path) -> None:
    class Eager(Plugin):
        @hookimpl(tryfirst=True)
        def hook_rcpt_ok(self) -> Verdict:
            return OK

        @hookimpl(tryfirst=True)
        def hook_data(self) -> Verdict:
            return OK

    plugins = (Eager(), DelayDeny(), Refuse("connect", DENY("no")), Local())
    async with Scene(tmp_path, *plugins).client() as client:
        result = await client.hand_over("a@stranger.test", ["b@local.test"], CONTENT)
    assert [reply.code for reply in result] == [250, 250, 554]
    assert result[-1].text == "no"


async def test_without_a_denial_nothing_changes(tmp_path: Path) -> None:
    assert [reply.code for reply in await replies(tmp_path)] == [250, 250, 354, 250]


@pytest.mark.parametrize("hook", ["rcpt", "rcpt_ok", "data", "data_post", "queue"])
async def test_later_denials_take_effect_at_once(tmp_path: Path, hook: str) -> None:
    result = await replies(tmp_path, Refuse(hook, DENYSOFT(f"at {hook}")))
    assert (4, f"at {hook}") in [(reply.code // 100, reply.text) for reply in result]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, 250),
        ({"included_plugins": ["refuse"]}, 250),
        ({"included_plugins": ["refuse:mail"]}, 250),
        ({"included_plugins": ["refuse:ehlo", "other"]}, 550),
        ({"excluded_plugins": ["refuse"]}, 550),
        ({"excluded_plugins": ["refuse:mail"]}, 550),
        ({"excluded_plugins": ["refuse:ehlo"]}, 250),
    ],
)
async def test_plugins_may_be_included_or_excluded(
    tmp_path: Path, settings: dict[str, Any], code: int
) -> None:
    result = await replies(tmp_path, Refuse("mail", DENY), **settings)
    assert result[0].code == code
    assert result[code == 250].code == 550


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"included_plugins": ["a"], "excluded_plugins": ["b"]}, "", "only one of them can hold"),
        ({"included_plugins": ["a:data"]}, ".included_plugins[0]", "or NAME:HOOK with one of the hooks"),
        ({"excluded_plugins": [":mail"]}, ".excluded_plugins[0]", "must be the name of a plugin"),
        ({"excluded_plugin": ["a"]}, ".excluded_plugin", "did you mean"),
    ],
)
def test_wrong_settings_are_explained(table: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("delay_deny", table, DelayDenyConfig)
    assert message in problems(caught.value)[f"plugin.delay_deny{key}"]
