"""Host names, networks, name servers and paths."""

import ipaddress
import socket
from pathlib import Path

import pytest
from pydantic import BaseModel

from harakapy.config import ConfigPath, StatePath
from harakapy.config.place import (
    local_host_name,
    parse_host_name,
    parse_name_server,
    parse_network,
    user_state_directory,
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mail.example.com", "mail.example.com"),
        ("mail.example.com.", "mail.example.com"),
        ("localhost", "localhost"),
        ("a_b-c", "a_b-c"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63, "a" * 63),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    ],
)
def test_host_name_is_taken(written: str, name: str) -> None:
    assert parse_host_name(written) == name


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a b",
        "a\n",
        "bücher.example",
        "a" * 64,
        "a." * 128 + "a",
        "[1.2.3]",
        "[2001:db8::1]",
        "[IPv6:192.0.2.1]",
        "[]",
        5,
        None,
        "a\x1b",
        "<x>",
    ],
)
def test_other_host_names_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"must be a domain name, .* or an address literal"):
        parse_host_name(written)


@pytest.mark.parametrize(
    ("name", "taken"), [("vm.example", "vm.example"), ("bad name", "localhost"), ("", "localhost")]
)
def test_machine_with_an_odd_name_is_localhost(
    monkeypatch: pytest.MonkeyPatch, name: str, taken: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert local_host_name() == taken


@pytest.mark.parametrize("written", ["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "10.0.0.0/255.0.0.0"])
def test_network_is_taken(written: str) -> None:
    assert parse_network(written) == ipaddress.ip_network(written)
    assert parse_network(parse_network(written)) == ipaddress.ip_network(written)


@pytest.mark.parametrize(("written", "network"), [("192.0.2.1", "192.0.2.1/32"), ("::1", "::1/128")])
def test_one_address_is_a_network(written: str, network: str) -> None:
    assert str(parse_network(written)) == network


@pytest.mark.parametrize("written", ["192.0.2.1/24", "2001:db8::1/32"])
def test_address_within_a_network_is_a_slip(written: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with the first address of the network, .*/"):
        parse_network(written)


@pytest.mark.parametrize("written", ["", "x", "192.0.2.0/33", "192.0.2", 5, True, None, "192.0.2.0/24 "])
def test_other_networks_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a network"):
        parse_network(written)


@pytest.mark.parametrize("written", ["192.0.2.53", "192.0.2.53:5353", "2001:db8::1", "[2001:db8::1]:53"])
def test_name_server_is_taken(written: str) -> None:
    assert parse_name_server(written) == written


@pytest.mark.parametrize(
    "written",
    [
        "",
        "dns.example",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "[192.0.2.53]:53",
        "[::1]",
        ":53",
        5,
        "192.0.2.53:٥٣",
    ],
)
def test_other_name_servers_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"must be an address, such as"):
        parse_name_server(written)


class Paths(BaseModel):
    lists: ConfigPath = Path("host_list")
    mail: StatePath = Path("mail/{user}")


def test_paths_begin_where_they_belong(tmp_path: Path) -> None:
    context = {"directory": tmp_path / "etc", "state_dir": tmp_path / "var"}
    assert Paths.model_validate({}, context=context) == Paths.model_construct(
        lists=tmp_path / "etc/host_list", mail=tmp_path / "var/mail/{user}"
    )
    given = Paths.model_validate({"lists": "/lists", "mail": "../m"}, context=context)
    assert (given.lists, given.mail) == (Path("/lists"), tmp_path / "var/../m")


def test_paths_stay_as_they_are_in_a_model_made_by_hand() -> None:
    assert Paths().lists == Path("host_list")


def test_tilde_is_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert Paths.model_validate({"mail": "~/mail"}).mail == Path("/home/ann/mail")


@pytest.mark.parametrize(
    ("named", "folder"),
    [
        ("/var/state", "/var/state/harakapy"),
        ("", "/home/ann/.local/state/harakapy"),
        ("relative", "/home/ann/.local/state/harakapy"),
    ],
)
def test_state_of_a_user_is_where_the_specification_says(
    monkeypatch: pytest.MonkeyPatch, named: str, folder: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_STATE_HOME", named)
    assert user_state_directory() == Path(folder)
