"""The settings of queue and delivery."""

from pathlib import Path
from typing import Any

import pytest

from harakapy.config import ConfigError, Rate, Settings, load
from harakapy.outbound.hop import NextHop, TlsLevel
from harakapy.queue.files import Floor


def problems(values: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        Settings.of(values, check_next_hop=NextHop.parse)
    return [(problem.key, problem.message, problem.given) for problem in caught.value.problems]


def route(**values: Any) -> dict[str, Any]:
    return {"outbound": {"route": [{"domains": ["a.example"], **values}]}}


def test_defaults_are_those_of_the_manual() -> None:
    outbound = Settings.default().outbound
    assert outbound.tls == "may"
    assert len(outbound.route) == 0
    assert outbound.relay_host is None
    assert outbound.rate is None
    assert list(outbound.retry) == [300, 300, 600, 1200, 2400, 3600]
    assert (outbound.max_age, outbound.report_max_age, outbound.delay_warning) == (432_000, 86_400, 14_400)
    timeouts = [
        outbound.greeting_timeout,
        outbound.command_timeout,
        outbound.data_timeout,
        outbound.block_timeout,
        outbound.dot_timeout,
    ]
    assert timeouts == [300, 300, 120, 180, 600]
    assert outbound.reports.return_content == 51_200
    assert outbound.reports.postmaster is None


def test_queue_is_below_the_state_unless_it_is_elsewhere() -> None:
    assert Settings.default(state_dir="/state").queue_dir == Path("/state/queue")
    assert Settings.default(state_dir="/state", queue={"directory": "/q"}).queue_dir == Path("/q")


def test_floor_of_the_queue_is_that_of_the_store() -> None:
    queue = Settings.default().queue
    assert Floor(queue.min_free_space, queue.min_free_inodes) == Floor()


def test_levels_of_tls_are_those_of_next_hops() -> None:
    for level in TlsLevel:
        assert Settings.default(outbound={"tls": level.value}).outbound.tls == level.value
        assert Settings.default(**route(tls=level.value)).outbound.route[0].tls == level.value


def test_a_route_is_read(tmp_path: Path) -> None:
    file = tmp_path / "harakapy.toml"
    (tmp_path / "secret").write_text("hush\n")
    file.write_text(
        "[outbound]\nrelay_host = 'smtp://relay.example:587'\nrate = '20/s'\n"
        "[[outbound.route]]\ndomains = ['Bücher.example', '.a.EXAMPLE', '[192.0.2.1]', '*']\n"
        "to = 'smtp://mail.example'\nuser = 'me'\npassword = { file = 'secret' }\nretry = '1m*2, 5m'\n"
        "rate = '100/1m'\ntoken_file = 'token'\nbind = ['192.0.2.9', '2001:DB8::9']\n"
    )
    outbound = load(file, check_next_hop=NextHop.parse).outbound
    (found,) = outbound.route
    assert found.domains == ("xn--bcher-kva.example", ".a.example", "[192.0.2.1]", "*")
    assert found.to is not None
    assert [url.get_secret_value() for url in found.to] == ["smtp://mail.example"]
    assert found.password.get_secret_value() == "hush"
    assert (found.retry, found.rate, outbound.rate) == ((60, 60, 300), Rate(100, 60), Rate(20, 1))
    assert (found.token_file, found.bind) == (tmp_path / "token", ("192.0.2.9", "2001:db8::9"))
    assert "hush" not in repr(outbound)


@pytest.mark.parametrize(
    "hops", ["mail.example", ["mail.example", "lmtp:///run/lmtp"], [], "smtps://me:secret@mail.example"]
)
def test_next_hops_are_one_or_a_list(hops: Any) -> None:
    to = Settings.of(route(to=hops), check_next_hop=NextHop.parse).outbound.route[0].to
    assert to is not None
    assert [url.get_secret_value() for url in to] == ([hops] if isinstance(hops, str) else hops)


@pytest.mark.parametrize(
    "values", [route(to=["smtp://me:secret@host:x"]), route(to="smtp://me:secret@host:x")]
)
def test_a_wrong_next_hop_is_told_without_its_password(values: dict[str, Any]) -> None:
    ((key, message, given),) = problems(values)
    assert key.startswith("outbound.route[0].to")
    assert message.startswith("'smtp://host:x' has no valid host and port; allowed: ")
    assert given == ""


def test_relay_host_is_checked_too() -> None:
    ((key, message, given),) = problems({"outbound": {"relay_host": "http://me:secret@relay.example"}})
    assert (key, given) == ("outbound.relay_host", "")
    assert "begins with http://" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        (route(domains=[]), "domains", "must have at least one domain"),
        (route(domains=["*.example"]), "domains[0]", 'must be a domain, ".domain"'),
        (route(domains=["a..b"]), "domains[0]", 'must be a domain, ".domain"'),
        (route(domains=["é\ud800"]), "domains[0]", 'must be a domain, ".domain"'),
        (route(domains=[5]), "domains[0]", 'must be a domain, ".domain"'),
        (route(user="me"), "", "no next hop (to) where to log in"),
        (route(user="me", to=[]), "", "no next hop (to) where to log in"),
        (route(password="x", to="a.example"), "", "no user that it is for"),
        (route(bind=["a"]), "bind[0]", "must be an IP address"),
        (route(bind=["::1", "::2"]), "bind", "at most one IPv4 and one IPv6 address"),
        (route(retry="0s"), "retry", "must be a list of durations"),
        (route(rate=5), "rate", "must be a rate"),
        (route(connections=0), "connections", "must be at least 1"),
    ],
)
def test_a_wrong_route_is_told(values: dict[str, Any], key: str, message: str) -> None:
    ((found, told, _),) = problems(values)
    assert found == f"outbound.route[0].{key}".rstrip(".")
    assert message in told


def test_a_domain_has_one_route() -> None:
    routes = [{"domains": ["a.example", "*"]}, {"domains": ["b.example", "A.example"]}]
    ((key, message, _),) = problems({"outbound": {"route": routes}})
    assert (key, message) == ("outbound", "names a.example more than once in its routes")


@pytest.mark.parametrize("address", ["root", "a b@c", "a@b@c", "a@b\r\n", 5])
def test_a_wrong_address_for_reports_is_told(address: object) -> None:
    ((key, message, _),) = problems({"outbound": {"reports": {"postmaster": address}}})
    assert key == "outbound.reports.postmaster"
    assert message.startswith("must be a mail address")
