"""What a `[[listen]]` table takes."""

from typing import Any

import pytest

from harakapy.config import ConfigError, Settings
from harakapy.net import Endpoint


def listen(**values: Any) -> Settings:
    table = {"address": "127.0.0.1:0", **values}
    return Settings.of({"listen": [table]}, check_address=Endpoint.parse)


@pytest.mark.parametrize("address", ["systemd:smtp", "fd:3", "unix:mail.sock", "[::]:25"])
def test_each_form_of_an_address_is_taken(address: str) -> None:
    assert listen(address=address).listen[0].address == address


@pytest.mark.parametrize("mode", ["0660", "600", "0777"])
def test_a_mode_is_octal_digits(mode: str) -> None:
    assert listen(socket_mode=mode).listen[0].socket_mode == mode


@pytest.mark.parametrize("mode", ["", "rw", "0o660", "888", "66", "06600", "0660\n", "٠٦٦٠"])
def test_anything_else_is_no_mode(mode: str) -> None:
    with pytest.raises(ConfigError, match=r"listen\[0\].socket_mode: .*three octal digits"):
        listen(socket_mode=mode)


def test_extensions_are_on_unless_a_listener_withholds_them() -> None:
    given = listen(extensions={"dsn": False, "futurerelease": True}).listen[0].extensions
    assert (given.dsn, given.deliverby, given.futurerelease) == (False, True, True)
    assert listen().listen[0].extensions.futurerelease is None


def test_an_extension_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"listen\[0\].extensions.deliver_by.*deliverby"):
        listen(extensions={"deliver_by": False})


def test_networks_of_xclient_are_networks() -> None:
    assert [str(network) for network in listen(xclient=["10.0.0.0/8", "::1"]).listen[0].xclient] == [
        "10.0.0.0/8",
        "::1/128",
    ]
    with pytest.raises(ConfigError, match=r"listen\[0\].xclient\[0\]"):
        listen(xclient=["filter.example"])
