"""Where things are, as settings say it: host names, networks, name servers, files."""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from harakapy.config.quantity import Kind, Parsed

__all__ = [
    "ConfigPath",
    "HostName",
    "NameServer",
    "Network",
    "OptionalConfigPath",
    "StatePath",
    "local_host_name",
    "parse_network",
    "user_state_directory",
]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

NOT_A_HOST_NAME = 'must be a domain name, such as "mail.example.com", or an address literal "[192.0.2.1]"'
NOT_A_NETWORK = 'must be a network, such as "192.0.2.0/24" or "2001:db8::/32", or one address'
NOT_A_NAME_SERVER = 'must be an address, such as "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::1]:53"'

# Liberal in what a label may contain (`_` is common in names of containers), strict in lengths: RFC 5321
# 4.5.3.1.2 and RFC 1035 2.3.4.
_is_domain = re.compile(r"(?!.{256})(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*").fullmatch


def local_host_name() -> str:
    """The name that this machine has for itself; "localhost" if that is not a domain name.

    The name is not looked up in the DNS: a server must start while that is down.
    """
    name = socket.gethostname()
    return name if _is_domain(name) else "localhost"


def user_state_directory() -> Path:
    """Where programs of this user keep their state (XDG Base Directory Specification)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    if named.startswith("/"):  # relative ones are to be ignored, says the specification
        return Path(named, "harakapy")
    return Path("~/.local/state/harakapy").expanduser()


def parse_host_name(value: object) -> str:
    """A domain name without trailing dot, or an address literal such as `[192.0.2.1]` (RFC 5321 4.1.3).

    Raises ValueError for anything else.
    """
    if isinstance(value, str):
        name = value.removesuffix(".")
        if _is_domain(name):
            return name
        if value.startswith("[") and value.endswith("]"):
            literal = value[1:-1].removeprefix("IPv6:")
            if _is_address(literal) and (":" in literal) == value.startswith("[IPv6:"):
                return value
    raise ValueError(NOT_A_HOST_NAME)


def parse_network(value: object) -> IPNetwork:
    """A network `192.0.2.0/24`, `2001:db8::/32`, or one address. Raises ValueError for anything else."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        network = ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError(NOT_A_NETWORK) from None
    assert isinstance(value, str)
    if ipaddress.ip_address(value.partition("/")[0]) != network.network_address:
        # Taken loosely, 10.1.2.3/8 would name far more than somebody who made a slip in the length meant.
        raise ValueError(f"must begin with the first address of the network, {network}")
    return network


def parse_name_server(value: object) -> str:
    """An address, with a port behind a colon if it is not 53. Raises ValueError for anything else."""
    if isinstance(value, str):
        address, _, port = value.rpartition(":")
        is_bracketed = address.startswith("[") and address.endswith("]")
        bare = address[1:-1] if is_bracketed else address
        if _is_address(value) or (_is_address(bare) and (":" in bare) == is_bracketed and _is_port(port)):
            return value
    raise ValueError(NOT_A_NAME_SERVER)


def beside_configuration(path: Path, info: ValidationInfo) -> Path:
    """`path`, taken relative to the directory of the configuration; `~` is the home of the user."""
    return _directory(info, "directory") / path.expanduser()


def below_state(path: Path, info: ValidationInfo) -> Path:
    """`path`, taken relative to `state_dir`; `~` is the home of the user."""
    return _directory(info, "state_dir") / path.expanduser()


ConfigPath = Annotated[
    Path, AfterValidator(beside_configuration), Field(validate_default=True), Kind("path", str)
]
"""The path of something that people write; relative ones begin where the configuration file is."""

OptionalConfigPath = Annotated[Path, AfterValidator(beside_configuration), Kind("path", str)] | None
"""The same where there may be none."""

StatePath = Annotated[Path, AfterValidator(below_state), Field(validate_default=True), Kind("path", str)]
"""For plugins: the path of something that the server writes; relative ones begin at `state_dir`."""

HostName = Annotated[str, Parsed(parse_host_name), Kind("host name")]
"""A domain name or an address literal."""

Network = Annotated[IPNetwork, Parsed(parse_network), Kind("network", str)]
"""An `ipaddress` network; one address is a network too."""

NameServer = Annotated[str, Parsed(parse_name_server), Kind("address")]
"""The address of a DNS server, perhaps with a port."""


def _directory(info: ValidationInfo, name: str) -> Path:
    # Without a context, somebody made the model by hand, and relative paths stay as they are.
    context: Mapping[str, Path] = info.context or {}
    return context.get(name, Path())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536
