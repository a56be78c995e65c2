from pathlib import Path
from typing import Any

import pytest

from harakapy import DENY, OK, Address, ConfigError, Connection, Plugin, Verdict, hookimpl
from harakapy.config import validate_plugin
from harakapy.net import SocketAddress
from harakapy.plugins.rcpt_to_in_host_list import RcptToInHostList
from harakapy.plugins.relay import Relay, RelayConfig

from .scene import CONTENT, Keep, Scene, mail_and_rcpt, problems


async def codes(
    folder: Path, recipients: list[str], ip: str = "192.0.2.1", *plugins: object, **settings: Any
) -> list[int]:
    scene = Scene(folder, Relay(**settings), RcptToInHostList(hosts=["local.test"]), *plugins)
    async with scene.client(SocketAddress(ip, 40000)) as client:
        return [reply.code for reply in await mail_and_rcpt(client, *recipients)]


@pytest.mark.parametrize(
    ("ip", "code"),
    [
        ("192.0.2.1", 250),
        ("192.0.3.1", 550),
        ("::ffff:192.0.2.9", 250),
        ("2001:db8::7", 250),
        ("2001:db8::8", 550),
        ("fe80::1%eth0", 250),
        ("", 550),
    ],
)
async def test_clients_in_the_networks_may_send_anywhere(tmp_path: Path, ip: str, code: int) -> None:
    acl = ["192.0.2.0/24", "2001:db8::7", "fe80::/10"]
    assert await codes(tmp_path, ["a@elsewhere.test"], ip, acl=acl) == [code]


async def test_mail_of_these_clients_goes_out(tmp_path: Path) -> None:
    keep = Keep()
    async with Scene(tmp_path, Relay(acl=["192.0.2.1"]), keep).client() as client:
        for _ in range(2):  # the second transaction as well
            replies = await client.hand_over("a@local.test", ["b@elsewhere.test"], CONTENT)
            assert replies[-1].code == 250
    assert [hook for hook, *_ in keep.taken] == ["queue_outbound"] * 2


async def test_without_settings_it_relays_for_nobody(tmp_path: Path) -> None:
    assert await codes(tmp_path, ["a@elsewhere.test", "a@local.test"]) == [550, 250]


async def test_anybody_may_send_to_the_destination_domains(tmp_path: Path) -> None:
    recipients = ["a@DEST.test", "a@xn--bcher-kva.example", "a@bücher.example", "a@\u0338x.test"]
    settings: dict[str, Any] = {"dest_domains": ["Dest.test", "bücher.example"]}
    assert await codes(tmp_path, recipients, **settings) == [250, 250, 250, 501]
    assert await codes(tmp_path, ["a@sub.dest.test", "a@ab--ü.example"], **settings) == [550, 550]


async def test_a_destination_domain_opens_no_way_to_others(tmp_path: Path) -> None:
    recipients = ["a@dest.test", "a@elsewhere.test", "a@dest.test"]
    assert await codes(tmp_path, recipients, dest_domains=["dest.test"]) == [250, 550, 250]


@pytest.mark.parametrize("first", [0, 1])
async def test_local_and_relayed_recipients_are_kept_apart(tmp_path: Path, first: int) -> None:
    recipients = ["a@dest.test", "a@local.test"]
    order = [recipients[first], recipients[1 - first], recipients[first]]
    assert await codes(tmp_path, order, dest_domains=["dest.test"]) == [250, 452, 250]


async def test_a_relaying_client_may_mix_them(tmp_path: Path) -> None:
    recipients = ["a@dest.test", "a@local.test", "a@elsewhere.test"]
    settings: dict[str, Any] = {"dest_domains": ["dest.test"], "acl": ["192.0.2.1"]}
    assert await codes(tmp_path, recipients, **settings) == [250, 250, 250]


class Check(Plugin):
    """Knows some mailboxes; notes whether the client was relaying when the content was checked."""

    def __init__(self) -> None:
        super().__init__()
        self.relaying: list[bool] = []

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict | None:
        return {"nobody": DENY, "known": OK}.get(recipient.user)

    @hookimpl(trylast=True)
    def hook_data_post(self, connection: Connection) -> Verdict | None:
        self.relaying.append(connection.relaying)
        assert connection.transaction is not None
        return DENY if connection.transaction.mail_from.user == "spammer" else None


async def test_other_plugins_may_refuse_mailboxes_in_destination_domains(tmp_path: Path) -> None:
    recipients = ["nobody@dest.test", "known@dest.test", "a@dest.test"]
    result = await codes(tmp_path, recipients, "192.0.2.1", Check(), dest_domains=["dest.test"])
    assert result == [550, 250, 250]


async def test_mail_for_destination_domains_is_checked_and_then_goes_out(tmp_path: Path) -> None:
    keep, check = Keep(), Check()
    async with Scene(tmp_path, Relay(dest_domains=["dest.test"]), check, keep).client() as client:
        replies = await client.hand_over("a@elsewhere.test", ["b@dest.test"], CONTENT)
        assert replies[-1].code == 250
        replies = await client.hand_over("spammer@elsewhere.test", ["b@dest.test"], CONTENT)
        assert replies[-1].code == 550
        replies = await client.hand_over("a@elsewhere.test", ["known@local.test"], CONTENT)
        assert replies[-1].code == 250
    assert check.relaying == [False, False, False]
    assert [hook for hook, *_ in keep.taken] == ["queue_outbound", "queue"]


async def test_other_lists_hold_for_new_connections(tmp_path: Path) -> None:
    plugin = Relay(acl=["192.0.2.1"])
    scene = Scene(tmp_path, plugin)
    plugin.reload(RelayConfig.model_validate({"dest_domains": ["dest.test"]}))
    async with scene.client() as client:
        replies = await mail_and_rcpt(client, "a@elsewhere.test", "a@dest.test")
    assert [reply.code for reply in replies] == [550, 250]


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"acl": ["10.1.2.3/8"]}, "acl[0]", "first address of the network, 10.0.0.0/8"),
        ({"acl": ["example.com"]}, "acl[0]", "must be a network"),
        ({"dest_domains": ["a b"]}, "dest_domains[0]", "must be domain names"),
        ({"dest_domain": []}, "dest_domain", "dest_domains"),
    ],
)
def test_wrong_settings_are_explained(table: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("relay", table, RelayConfig)
    assert message in problems(caught.value)[f"plugin.relay.{key}"]
