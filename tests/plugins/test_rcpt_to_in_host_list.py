from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy import ConfigError, Connection, Plugin, Reply, hookimpl
from harakapy.config import validate_plugin
from harakapy.net import SocketAddress
from harakapy.plugins.rcpt_to_in_host_list import RcptToInHostList, RcptToInHostListConfig, canonical_host
from harakapy.plugins.relay import Relay

from .scene import REMOTE, Scene, mail_and_rcpt, problems


async def verdicts(folder: Path, recipients: list[str], **settings: Any) -> dict[str, int]:
    """{recipient: reply code} under these settings."""
    async with Scene(folder, RcptToInHostList(**settings)).client() as client:
        replies = await mail_and_rcpt(client, *recipients)
    return {recipient: reply.code for recipient, reply in zip(recipients, replies, strict=True)}


async def test_recipients_in_a_listed_domain_are_accepted_and_no_others(tmp_path: Path) -> None:
    assert await verdicts(
        tmp_path,
        [
            "a@example.com",
            "a@EXAMPLE.com.",
            "a@sub.example.com",
            "a@example.org",
            '"x@example.com"@evil',
        ],
        hosts=["Example.COM", "other.test."],
    ) == {
        "a@example.com": 250,
        "a@EXAMPLE.com.": 250,
        "a@sub.example.com": 550,
        "a@example.org": 550,
        '"x@example.com"@evil': 550,
    }


async def test_names_of_python_objects_are_only_domains(tmp_path: Path) -> None:
    recipients = ["a@__proto__", "a@constructor", "a@__class__"]
    assert set((await verdicts(tmp_path, recipients, hosts=["example.com"])).values()) == {550}


async def test_domains_are_compared_in_their_ascii_form(tmp_path: Path) -> None:
    recipients = ["a@bücher.example", "a@BÜCHER.example", "a@xn--bcher-kva.example", "a@bucher.example"]
    listed = await verdicts(tmp_path, recipients, hosts=["Bücher.example"])
    assert list(listed.values()) == [250, 250, 250, 550]
    assert listed == await verdicts(tmp_path, recipients, hosts=["xn--bcher-kva.example"])


async def test_a_name_that_idna_refuses_is_in_no_list(tmp_path: Path) -> None:
    assert await verdicts(tmp_path, ["a@\u0338x.example", "a@ab--ü.example"], hosts=["x.example"]) == {
        "a@\u0338x.example": 501,
        "a@ab--ü.example": 550,
    }


async def test_without_any_list_the_own_name_and_localhost_are_local(tmp_path: Path) -> None:
    recipients = ["a@mx.test", "a@localhost", "a@[192.0.2.25]", "a@example.com", "a@[192.0.2.26]"]
    assert list((await verdicts(tmp_path, recipients)).values()) == [250, 250, 250, 550, 550]


async def test_an_empty_list_is_not_the_default_list(tmp_path: Path) -> None:
    assert await verdicts(tmp_path, ["a@mx.test", "a@localhost"], hosts=[]) == {
        "a@mx.test": 550,
        "a@localhost": 550,
    }


async def test_postmaster_of_the_server_itself_is_always_accepted(tmp_path: Path) -> None:
    recipients = [
        "postmaster",
        "Postmaster",
        "PostMaster@mx.test",
        "postmaster@[192.0.2.25]",
        "postmaster@example.org",
        "root@mx.test",
        "root@[192.0.2.25]",
        "postmaster@[192.0.2.26]",
    ]
    codes = await verdicts(tmp_path, recipients, hosts=["example.com"])
    assert list(codes.values()) == [250, 250, 250, 250, 550, 550, 550, 550]


async def test_the_own_address_means_the_own_name(tmp_path: Path) -> None:
    plugin = RcptToInHostList(hosts=["mx.test", "[198.51.100.7]"])
    async with Scene(tmp_path, plugin).client(local=SocketAddress("2001:db8::25", 25)) as client:
        replies = await mail_and_rcpt(
            client, "a@[IPv6:2001:db8:0::25]", "a@[192.0.2.25]", "a@[198.51.100.7]", "a@[IPv6:::1]"
        )
    assert [reply.code for reply in replies] == [250, 550, 250, 550]


async def test_a_client_on_a_unix_socket_has_connected_to_no_address(tmp_path: Path) -> None:
    scene = Scene(tmp_path, RcptToInHostList(hosts=["mx.test"]))
    async with scene.client(SocketAddress("", 0), SocketAddress("", 0)) as client:
        replies = await mail_and_rcpt(client, "a@[127.0.0.1]", "postmaster")
    assert [reply.code for reply in replies] == [550, 250]


async def test_the_server_may_be_named_by_an_address(tmp_path: Path) -> None:
    scene = Scene(tmp_path, RcptToInHostList(), hostname="[192.0.2.25]")
    async with scene.client() as client:
        replies = await mail_and_rcpt(client, "a@[192.0.2.25]", "a@localhost", "a@mx.test")
    assert [reply.code for reply in replies] == [250, 250, 550]


async def test_a_relaying_client_may_send_anywhere(tmp_path: Path) -> None:
    scene = Scene(tmp_path, RcptToInHostList(hosts=["example.com"]), Relay(acl=["192.0.2.1"]))
    async with scene.client() as client:
        assert [reply.code for reply in await mail_and_rcpt(client, "a@anywhere.test")] == [250]


async def test_expressions_match_whole_domains_in_any_case(tmp_path: Path) -> None:
    recipients = [
        "a@a.example.org",
        "a@EXAMPLE.org",
        "a@example.org.evil.test",
        "a@xexample.org",
        "a@mx.test",
    ]
    expressions = [r"(.+\.)?EXAMPLE\.org", r"\d+\.test"]
    codes = await verdicts(tmp_path, recipients, host_list_regex=expressions)
    assert list(codes.values()) == [250, 250, 550, 550, 550]


async def test_expressions_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "regex"
    file.write_text("# ours\n.+\\.example\\.org\n")
    codes = await verdicts(tmp_path, ["a@b.example.org", "a@example.org"], host_list_regex=str(file))
    assert list(codes.values()) == [250, 550]


async def test_a_host_list_file_is_read_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harakapy.config.lists.LOOK_INTERVAL_S", 0)
    file = tmp_path / "host_list"
    file.write_text("# ours\nEXAMPLE.com\nbücher.example\n")
    scene = Scene(tmp_path, RcptToInHostList(host_list=str(file)))
    async with scene.client() as client:
        recipients = ["a@example.com", "a@xn--bcher-kva.example", "a@example.net", "a@mx.test"]
        assert [reply.code for reply in await mail_and_rcpt(client, *recipients)] == [250, 250, 550, 550]
        file.write_text("example.net\nno domain\n")
        codes = [(await client.command(f"RCPT TO:<{recipient}>")).code for recipient in recipients]
        assert codes == [550, 550, 250, 550]
        file.unlink()
        assert (await client.command("RCPT TO:<a@example.net>")).code == 250
    assert "no domain is left out" in scene.log
    assert "host list not read again" in scene.log


async def test_a_relative_host_list_file_stands_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host_list").write_text("example.com\n")
    assert await verdicts(tmp_path, ["a@example.com"], host_list="host_list") == {"a@example.com": 250}


def test_a_missing_file_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*cannot be read"):
        Scene(tmp_path, RcptToInHostList(host_list=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"nowhere.*cannot be read"):
        Scene(tmp_path, RcptToInHostList(host_list_regex=str(tmp_path / "nowhere")))


async def mail_from(folder: Path, sender: str, acl: list[str] | None = None, **settings: Any) -> Reply:
    scene = Scene(folder, Relay(acl=acl or []), RcptToInHostList(hosts=["example.com"], **settings))
    async with scene.client() as client:
        return await client.command(f"MAIL FROM:<{sender}>")


async def test_anti_spoof_refuses_local_senders_to_strangers(tmp_path: Path) -> None:
    reply = await mail_from(tmp_path, "boss@EXAMPLE.com", anti_spoof=True)
    assert reply == Reply(550, "Mail from domain 'example.com' is not allowed from your host", "5.7.1")


@pytest.mark.parametrize("sender", ["boss@example.org", "", "boss@sub.example.com"])
async def test_anti_spoof_lets_other_senders_pass(tmp_path: Path, sender: str) -> None:
    assert (await mail_from(tmp_path, sender, anti_spoof=True)).code == 250


async def test_anti_spoof_lets_relaying_clients_pass(tmp_path: Path) -> None:
    assert (await mail_from(tmp_path, "boss@example.com", anti_spoof=True, acl=[REMOTE.host])).code == 250


async def test_without_anti_spoof_local_senders_pass(tmp_path: Path) -> None:
    assert (await mail_from(tmp_path, "boss@example.com")).code == 250


async def test_a_local_sender_is_noted_and_so_is_what_is_not_ours(tmp_path: Path) -> None:
    seen: list[tuple[object, object]] = []

    class Look(Plugin):
        @hookimpl(trylast=True)
        def hook_rcpt(self, connection: Connection) -> None:
            assert connection.transaction is not None
            found = connection.transaction.results.get("rcpt_to_in_host_list")
            seen.append((connection.transaction.notes.get("local_sender"), found.get("fail")))

    async with Scene(tmp_path, RcptToInHostList(hosts=["example.com"]), Look()).client() as client:
        await mail_and_rcpt(client, "a@elsewhere.test", sender="b@example.com")
        await client.command("RSET")
        await mail_and_rcpt(client, "a@elsewhere.test", sender="b@elsewhere.test")
    assert seen == [(True, ["rcpt_to"]), (None, ["rcpt_to"])]


async def test_other_settings_are_taken_at_once_and_broken_ones_change_nothing(tmp_path: Path) -> None:
    plugin = RcptToInHostList(hosts=["example.com"])
    async with Scene(tmp_path, plugin).client() as client:
        await mail_and_rcpt(client)
        plugin.reload(RcptToInHostListConfig(hosts=("example.net",)))
        with pytest.raises(ConfigError):
            plugin.reload(RcptToInHostListConfig(host_list=tmp_path / "nowhere"))
        assert (await client.command("RCPT TO:<a@example.com>")).code == 550
        assert (await client.command("RCPT TO:<a@example.net>")).code == 250
        assert plugin.config.hosts == ("example.net",)


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"hosts": ["*.example.com"]}, "hosts[0]", "patterns go into host_list_regex"),
        ({"hosts": ["a b"]}, "hosts[0]", "must be domain names"),
        ({"hosts": ["[1.2.3]"]}, "hosts[0]", "must be domain names"),
        ({"hosts": "example.com"}, "hosts", "must be a list"),
        ({"host_list_regex": ["("]}, "host_list_regex[0]", "must be regular expressions"),
        ({"anti_spof": True}, "anti_spof", "anti_spoof"),
    ],
)
def test_wrong_settings_are_explained(table: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("rcpt_to_in_host_list", table, RcptToInHostListConfig)
    found = problems(caught.value)
    assert message in found[f"plugin.rcpt_to_in_host_list.{key}"]


@given(st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,10}(\.[a-z]{2,8}){1,3}", fullmatch=True))
def test_the_canonical_form_of_a_host_is_its_own(host: str) -> None:
    assert canonical_host(host.upper() + ".") == canonical_host(canonical_host(host)) == host
