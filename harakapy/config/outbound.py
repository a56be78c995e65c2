"""The tables `[outbound]` and `[queue]`: how accepted mail is kept and delivered; long, for it is a list.

What a next hop is, is known by the layer that goes there: whoever loads the settings passes its parser in, so
that a wrong one is reported along with everything else.
"""

import ipaddress
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

import idna
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from harakapy.config.intervals import Intervals, RateSetting
from harakapy.config.place import HostName, OptionalConfigPath, parse_host_name
from harakapy.config.quantity import KIB, MIB, Count, Duration, Kind, Parsed, Size
from harakapy.config.sections import Line, PlainPath
from harakapy.config.validate import Section, part

__all__ = ["OutboundSettings", "QueueSettings", "ReportSettings", "RouteSettings"]

ANY_DOMAIN = "*"
NOT_A_PATTERN = 'must be a domain, ".domain" for all that are below it, an address literal, or "*" for all'
NOT_AN_ADDRESS = 'must be an IP address, such as "192.0.2.1" or "2001:db8::1"'
NOT_A_MAILBOX = 'must be a mail address, such as "postmaster@example.com"'

_is_mailbox = re.compile(r"[^@\s]+@[^@\s]+").fullmatch


def _checked_next_hop(url: SecretStr, info: ValidationInfo) -> SecretStr:
    check = (info.context or {}).get("check_next_hop")
    if check is not None:
        check(url.get_secret_value())
    return url


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


def _parse_pattern(value: object) -> str:
    """The pattern with its domain in lower case and as A-labels. Raises ValueError."""
    if value == ANY_DOMAIN:
        return ANY_DOMAIN
    if not isinstance(value, str) or not value:
        raise ValueError(NOT_A_PATTERN)
    dot = "." if value.startswith(".") else ""
    name = value.removeprefix(".")
    try:
        ascii_name = name if name.isascii() else idna.encode(name, uts46=True).decode()
        return dot + parse_host_name(ascii_name).lower()
    except ValueError:  # idna's errors are some, too
        raise ValueError(NOT_A_PATTERN) from None


def _at_least_one(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:  # as a bound of the field it would also be told when each of them is wrong
        raise ValueError("must have at least one domain")
    return patterns


def _parse_address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError(NOT_AN_ADDRESS) from None


def _one_of_each_version(addresses: tuple[str, ...]) -> tuple[str, ...]:
    versions = Counter(ipaddress.ip_address(address).version for address in addresses)
    if any(count > 1 for count in versions.values()):
        raise ValueError("must have at most one IPv4 and one IPv6 address")
    return addresses


def _parse_mailbox(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and _is_mailbox(value):
        return value
    raise ValueError(NOT_A_MAILBOX)


NextHopUrl = Annotated[SecretStr, AfterValidator(_checked_next_hop), Kind("next hop")]
NextHopUrls = Annotated[
    tuple[NextHopUrl, ...], BeforeValidator(_listed), Kind("next hop, or list of next hops")
]
DomainPattern = Annotated[str, Parsed(_parse_pattern), Kind("domain")]
DomainPatterns = Annotated[tuple[DomainPattern, ...], AfterValidator(_at_least_one)]
BindAddresses = Annotated[
    tuple[Annotated[str, Parsed(_parse_address), Kind("IP address")], ...],
    AfterValidator(_one_of_each_version),
]
Mailbox = Annotated[str, Parsed(_parse_mailbox), Kind("mail address")]
TlsWord = Literal["none", "may", "encrypt", "verify"]


class RouteSettings(Section):
    """An `[[outbound.route]]` table: where mail for some domains goes, and how."""

    domains: DomainPatterns = Field(
        description=(
            'The domains of recipients it is for: `"example.com"` is that domain, `".example.com"` all below '
            'it, `"*"` all that no other route names. The most exact one counts.'
        ),
        examples=[["example.com", ".example.com"]],
    )
    to: NextHopUrls | None = Field(
        None,
        description=(
            "The next hops, tried in this order: `smtp://user:password@host:587`, `smtps://host`, "
            "`lmtp://host:24`, `lmtp:///path/to/socket`, or just `host`, whose addresses are then used, not "
            "its MX. Unless given, `relay_host` or the domain's own mail exchangers; `[]` means these in any "
            "case."
        ),
        examples=["smtp://mail.example.com:2525"],
    )
    tls: TlsWord | None = Field(
        None, description="How much TLS is wanted there, instead of `outbound.tls`.", examples=["verify"]
    )
    user: Line = Field(
        "", description="Log in at the hosts of `to` as this user, unless their URLs name one."
    )
    password: SecretStr = Field(
        SecretStr(""),
        description='The password of that user; best as `{ file = "path" }` or `{ env = "NAME" }`.',
        json_schema_extra={"default": "none"},
    )
    token_command: tuple[Line, ...] = Field(
        (),
        description=(
            "Instead of a password: the program, with its arguments, that writes an OAuth 2.0 access token. "
            "It is run again when the token is refused or has expired."
        ),
        examples=[["/usr/local/bin/mail-token", "relay"]],
    )
    token_file: OptionalConfigPath = Field(
        None,
        description="Instead of a password: the file that has an OAuth 2.0 access token, read each time.",
        examples=["/run/mail-token"],
    )
    auth_without_tls: bool = Field(
        False,
        description=(
            "Log in without TLS too. Anybody on the way can then read the password, so it is for networks "
            "that nobody else is in."
        ),
    )
    bind: BindAddresses = Field(
        (),
        description="The addresses to connect from, instead of `outbound.bind`.",
        examples=[["192.0.2.25"]],
    )
    helo: HostName | None = Field(
        None, description="The name to greet with, instead of `outbound.helo`.", examples=["out.example.com"]
    )
    connections: Count | None = Field(
        None,
        ge=1,
        description="Connections at a time to each of these, instead of `max_connections_per_destination`.",
        examples=[5],
    )
    rate: RateSetting | None = Field(
        None,
        description="Messages to each of these at most, instead of `outbound.rate`.",
        examples=["100/1m"],
    )
    retry: Intervals | None = Field(
        None, description="When to try again, instead of `outbound.retry`.", examples=["1m, 5m*2, 15m, 1h"]
    )
    max_recipients: Count | None = Field(
        None,
        ge=1,
        description="Recipients in one transaction, instead of `outbound.max_recipients`.",
        examples=[20],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        has_secret = bool(self.password.get_secret_value() or self.token_command or self.token_file)
        if has_secret and not self.user:
            raise ValueError("has a password or token, and no user that it is for")
        if self.user and not self.to:
            raise ValueError("has a user, and no next hop (to) where to log in: not at whoever the DNS names")
        return self


class ReportSettings(Section):
    """The `[outbound.reports]` table: what senders are told about their mail."""

    from_name: Line = Field(
        "Mail Delivery System", description="The name that reports come from, beside `address`."
    )
    address: Mailbox | None = Field(
        None,
        description=(
            "The address in the From field of reports. On the envelope they have none, so that nothing "
            "answers them (RFC 5321 4.5.5)."
        ),
        examples=["MAILER-DAEMON@mail.example.com"],
        json_schema_extra={"default": "MAILER-DAEMON at `hostname`"},
    )
    postmaster: Mailbox | None = Field(
        None,
        description=(
            "Who gets the reports that cannot be delivered themselves, and those about mail without a "
            "sender. Unless given, the log has a line about each: most is backscatter of forged mail."
        ),
        examples=["postmaster@example.com"],
    )
    return_content: Size = Field(
        50 * KIB,
        ge=0,
        description=(
            "Up to this size the whole message goes back in a report of failure, if its sender did not ask "
            "for the header only; of a larger one only the header. As Postfix has it."
        ),
    )
    collect: Duration = Field(
        10.0,
        ge=0,
        description=(
            "How long a report waits for further recipients of the message, so that the sender gets one "
            "report and not one for each. Picked: most answers come within seconds."
        ),
    )
    max_per_hour: Count = Field(
        500,
        ge=0,
        description=(
            "Reports in an hour at most; further ones wait. 0 for no limit. A flood of them is most often "
            "caused by forged senders, who should not be bothered. Picked."
        ),
    )
    max_per_sender: Count = Field(
        100,
        ge=0,
        description=(
            "The same for reports to one address. Further ones wait as well, but no longer than "
            "`outbound.report_max_age`: then they are not sent, and the log says so. Picked: more than "
            "anybody reads; a list with failures by the thousand needs a sender for each recipient."
        ),
    )
    template: OptionalConfigPath = Field(
        None,
        description="A file with the text for people in reports, instead of the built-in one.",
        examples=["report.txt"],
    )


class OutboundSettings(Section):
    """The `[outbound]` table: how accepted mail is delivered."""

    relay_host: NextHopUrl | None = Field(
        None,
        description=(
            "Where all mail goes that no route sends elsewhere, such as the relay of a provider: "
            '`"smtp://user:password@mail.example.com:587?tls=verify"`. Unless given, each domain\'s own mail '
            "exchangers get it."
        ),
        examples=["smtp://mail.example.com:587"],
    )
    helo: HostName | None = Field(
        None,
        description="Our name when we greet other servers. Unless given, `hostname`.",
        examples=["out.example.com"],
    )
    bind: BindAddresses = Field(
        (),
        description=(
            "The addresses that connections come from, one of IPv4 and one of IPv6 at most; without one, "
            "the system chooses."
        ),
        examples=[["192.0.2.25", "2001:db8::25"]],
    )
    ip_version: Literal["any", "4", "6"] = Field(
        "any",
        description=(
            "Which addresses of hosts are used. With `any` they take turns, so that mail arrives as long as "
            "one of the two works; `4` saves the failed tries of a machine without IPv6."
        ),
    )
    tls: TlsWord = Field(
        "may",
        description=(
            "`none`: never; `may`: if it is offered, without verifying anything; `encrypt`: always; "
            "`verify`: always, and the certificate must be good for the name of the host. `may` reaches "
            "every server: many have no certificate that could be verified (RFC 7435)."
        ),
    )
    tls_ca: OptionalConfigPath = Field(
        None,
        description="The authorities, in PEM, that certificates are verified with, instead of the system's.",
        examples=["relay-ca.pem"],
    )
    retry: Intervals = Field(
        (300.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0),
        description=(
            "How long to wait after each failed attempt; the last one repeats. As Postfix does: five minutes "
            "at first, as greylisting wants, then twice as long each time up to about an hour. RFC 5321 "
            "4.5.4.1 asks for half an hour in general, and allows for better strategies."
        ),
    )
    jitter: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description=(
            "The part of each interval by which it varies at random, so that mail that failed together does "
            "not come back all at once. Picked."
        ),
    )
    max_age: Duration = Field(
        432_000.0,
        gt=0,
        description=(
            "How long to try before the sender is told that it failed. RFC 5321 4.5.4.1 asks for four to "
            "five days at least."
        ),
    )
    report_max_age: Duration = Field(
        86_400.0,
        gt=0,
        description=(
            "The same for mail without a sender, such as reports: nobody waits for it, and what cannot be "
            "returned is mostly the answer to a forged sender."
        ),
    )
    delay_warning: Duration = Field(
        14_400.0,
        ge=0,
        description=(
            "How old mail gets before its sender is told, once, that it is late; 0 for never. Four hours are "
            "what Sendmail and Exim were known for; a person then still has the day to find another way."
        ),
    )
    max_deliveries: Count = Field(
        200,
        ge=1,
        description=(
            "Deliveries at a time in all. Picked: enough for slow hosts not to hold up the others, at some "
            "tens of kB each."
        ),
    )
    max_connections_per_destination: Count = Field(
        20,
        ge=1,
        description=(
            "Connections at a time to one destination; it starts with few and grows while all goes well. 20 "
            "is Postfix's limit too."
        ),
    )
    rate: RateSetting | None = Field(
        None, description="Messages to one destination at most.", examples=["100/1m"]
    )
    max_recipients: Count = Field(
        100,
        ge=1,
        description=(
            "Recipients in one transaction. Every server takes 100 (RFC 5321 4.5.3.1.8); one that announces "
            "fewer gets fewer."
        ),
    )
    max_messages_per_connection: Count = Field(
        100,
        ge=1,
        description=(
            "Messages over one connection before another one is opened. Many servers end it after 100 or so, "
            "and hosts behind a load balancer get their turn."
        ),
    )
    idle_connection: Duration = Field(
        5.0,
        ge=0,
        description=(
            "How long a connection is kept for further messages; 0 to keep none. Others pay for it: a server "
            "has few to give away, so it is short."
        ),
    )
    connect_timeout: Duration = Field(
        30.0,
        gt=0,
        description=(
            "How long to wait for a connection before the next address is tried. Postfix's default; a host "
            "that is there answers within a second."
        ),
    )
    greeting_timeout: Duration = Field(
        300.0,
        gt=0,
        description="How long to wait for the greeting. RFC 5321 4.5.3.2.1 asks for 5 minutes.",
    )
    command_timeout: Duration = Field(
        300.0,
        gt=0,
        description=(
            "How long to wait for the answer to a command. RFC 5321 4.5.3.2.2 and 4.5.3.2.3 ask for 5 "
            "minutes."
        ),
    )
    data_timeout: Duration = Field(
        120.0,
        gt=0,
        description="The same for DATA. RFC 5321 4.5.3.2.4 asks for 2 minutes.",
    )
    block_timeout: Duration = Field(
        180.0,
        gt=0,
        description=(
            "How long the host may take for each part of the content. RFC 5321 4.5.3.2.5 asks for 3 minutes."
        ),
    )
    dot_timeout: Duration = Field(
        600.0,
        gt=0,
        description=(
            "How long to wait for the answer to the content. RFC 5321 4.5.3.2.6 asks for 10 minutes: who "
            "does not wait delivers the message twice."
        ),
    )
    dead_host_time: Duration = Field(
        600.0,
        ge=0,
        description=(
            "How long at most a host that did not answer is left alone: the others are tried first, and if "
            "there are none, mail waits. It starts with a minute; 0 for never. Picked: an hour would be "
            "noticed, and a host that is down for a day is tried often enough."
        ),
    )
    reports: ReportSettings = part("What senders are told about their mail.")
    route: tuple[RouteSettings, ...] = Field(
        (), description="Where mail for some domains goes, and how: a table for each route."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = Counter(pattern for route in self.route for pattern in route.domains)
        repeated = sorted(pattern for pattern, count in named.items() if count > 1)
        if repeated:
            raise ValueError(f"names {', '.join(repeated)} more than once in its routes")
        return self


class QueueSettings(Section):
    """The `[queue]` table: where accepted mail is kept until it is delivered."""

    directory: PlainPath = Field(
        Path("queue"),
        description=(
            "The folder of the queue, relative to `state_dir`. It must be on a disk of this machine: the "
            "database in it does not work over a network."
        ),
    )
    min_free_space: Size = Field(
        128 * MIB,
        ge=0,
        description=(
            "Space on that disk below which no new mail is taken (452 4.3.1), so that what is there can "
            "still be worked off. Picked: the database has room to double its log."
        ),
    )
    min_free_inodes: Count = Field(
        1000,
        ge=0,
        description=(
            "The same for inodes, of which each large message takes one. Picked: for whatever else lives on "
            "that file system."
        ),
    )
