"""The tables of `harakapy.toml`, a model for each; longer than other files, for it is a list.

A field's description tells what it is for and why its default is what it is; the configuration reference and
the commented example file are made from it (`reference`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, model_validator

from harakapy.config.extensions import ExtensionSettings
from harakapy.config.place import ConfigPath, NameServer, Network, OptionalConfigPath, parse_network
from harakapy.config.quantity import KIB, MIB, Count, Duration, Kind, Size
from harakapy.config.validate import Section, part

__all__ = [
    "CertificateSettings",
    "DnsSettings",
    "ListenSettings",
    "LogSettings",
    "PluginSection",
    "SmtpSettings",
    "TlsSettings",
]


def _one_printable_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


def _checked_address(address: str, info: ValidationInfo) -> str:
    # What an address looks like is known by the layer that opens it; whoever loads the settings passes its
    # parser in, so that a wrong one is reported along with everything else.
    check = (info.context or {}).get("check_address")
    if check is not None:
        check(address)
    return address


def _octal_digits(mode: str) -> str:
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError('must be three octal digits, such as "0660"')
    return mode


Line = Annotated[str, AfterValidator(_one_printable_line)]
ListenAddress = Annotated[str, AfterValidator(_checked_address), Kind("address")]
SocketMode = Annotated[str, AfterValidator(_octal_digits), Kind("file mode")]
PlainPath = Annotated[Path, Kind("path", str)]


class ListenSettings(Section):
    """A `[[listen]]` table: one address on which the server accepts connections."""

    address: ListenAddress = Field(
        description=(
            'Where to accept connections: `"127.0.0.1:2525"`, `"[::]:25"` or `"unix:/path/to/socket"`. Port '
            "0 lets the system choose a free one. `systemd:NAME` stands for the sockets of that name which "
            "systemd has opened, `fd:3` for one that whoever starts the server has."
        )
    )
    socket_mode: SocketMode | None = Field(
        None,
        description=(
            "The mode of the file of a unix socket, in octal digits: who may write to it may connect. Unless "
            "given, the umask decides."
        ),
        examples=["0660"],
    )
    tls: Literal["starttls", "implicit", "off"] = Field(
        "starttls",
        description=(
            "When TLS begins: `starttls` offers it if `[tls]` has a certificate, as ports 25 and 587 do; "
            "`implicit` starts with it, as port 465 does (RFC 8314); `off` never offers it."
        ),
    )
    role: Literal["mx", "submission"] = Field(
        "mx",
        description=(
            "Who calls: `mx` takes mail from other servers, as port 25 does; `submission` is for our users, "
            "as 587 and 465 are. There a client must log in before MAIL, and a message without Date or "
            "Message-ID gets them (RFC 6409)."
        ),
    )
    auth_without_tls: bool = Field(
        False,
        description=(
            "Let clients log in without TLS. Anybody on the way can then read their passwords, so it is for "
            "networks that nobody else is in, and for tests."
        ),
    )
    proxies: tuple[Network, ...] = Field(
        (),
        description=(
            "Networks of proxies that tell the client's address in a PROXY header, version 1 or 2. Who "
            "connects from them must send one; from anybody else it is not believed."
        ),
        examples=[["10.0.0.0/8"]],
    )
    xclient: tuple[Network, ...] = Field(
        (),
        description=(
            "Networks of clients that may speak for others with XCLIENT, as content filters and proxies of "
            "mail do. They are believed in everything, also in who has logged in."
        ),
        examples=[["127.0.0.1"]],
    )
    extensions: ExtensionSettings = part("Extensions of SMTP that may be withheld here.")


class CertificateSettings(Section):
    """One certificate with its key, in PEM files."""

    certificate: ConfigPath = Field(
        description="The certificate, with those of the authorities between, in PEM."
    )
    key: ConfigPath = Field(description="Its private key in PEM, without a password.")


class TlsSettings(Section):
    """The `[tls]` table: our certificates, and what TLS we speak."""

    certificates: tuple[CertificateSettings, ...] = Field(
        (),
        description=(
            "The certificates, each with its key; several for one name if their keys are of different types. "
            "Which one a client sees is chosen by the name it asks for. Changed files are noticed."
        ),
    )
    directory: OptionalConfigPath = Field(
        None,
        description=(
            "Instead of `certificates`: a folder with pairs of PEM files, or with folders that have one pair "
            "each, as ACME clients leave them."
        ),
    )
    minimum_version: Literal["1.2", "1.3"] = Field(
        "1.2",
        description=(
            "The oldest version of TLS spoken. RFC 8996 forbids those before 1.2, and many mail servers do "
            "not have 1.3."
        ),
    )
    ciphers: Line | None = Field(
        None,
        description=(
            "What TLS 1.2 may use, as OpenSSL writes it, instead of those with forward secrecy and "
            "authenticated encryption (RFC 9325 4.2). Those of 1.3 are all good."
        ),
    )
    client_certificates: Literal["none", "request", "require"] = Field(
        "none",
        description=(
            "Whether clients are asked for a certificate. With `request` one that cannot be verified ends "
            "the handshake, so it is for clients that are known, not for a port where any mail server calls."
        ),
    )
    client_ca: OptionalConfigPath = Field(
        None, description="The authorities, in PEM, that client certificates must come from."
    )
    handshake_timeout: Duration = Field(
        30.0,
        gt=0,
        description="How long a handshake may take. Picked: many round trips of a slow network.",
    )

    @property
    def has_certificate(self) -> bool:
        """Whether TLS can be offered at all."""
        return bool(self.certificates) or self.directory is not None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.certificates and self.directory is not None:
            raise ValueError("has both certificates and directory; give one of them")
        if self.client_certificates != "none" and self.client_ca is None:
            raise ValueError("client_certificates needs client_ca, to verify them")
        return self


class SmtpSettings(Section):
    """The `[smtp]` table: limits and timeouts of receiving mail."""

    greeting: Line = Field(
        "ESMTP harakapy",
        max_length=400,
        description=(
            "The text of the 220 greeting behind the host name. At most 400 characters, as a line of a "
            "reply has 512 octets (RFC 5321 4.5.3.1.5)."
        ),
    )
    max_message_size: Size = Field(
        25 * MIB,
        ge=KIB,
        description=(
            "The largest message accepted, announced by SIZE; a larger one gets 552. 25 MiB is what most "
            "large providers accept."
        ),
    )
    spool_after: Size = Field(
        256 * KIB,
        ge=0,
        description=(
            "A message that grows beyond this is kept in a file instead of memory while it is received. "
            "Most mail is smaller, and ten thousand connections of this size still fit a server."
        ),
    )
    spool_dir: PlainPath = Field(
        Path("spool"),
        description=(
            "Where those files are, relative to `state_dir`. They are gone after a crash: nothing in them "
            "was accepted yet."
        ),
    )
    max_recipients: Count = Field(
        1000,
        ge=100,
        description=(
            "Recipients of one message; further ones get 452 4.5.3, and the message still goes to the "
            "first. RFC 5321 4.5.3.1.8 asks for at least 100; 1000 is what large senders use."
        ),
    )
    max_messages: Count = Field(
        0,
        ge=0,
        description=(
            "Messages of one connection, announced by LIMITS (RFC 9422); a further one gets 421. 0 "
            "for no limit: it costs both sides least if a client with much mail keeps its connection."
        ),
    )
    min_deliver_by: Duration = Field(
        0.0,
        ge=0,
        description=(
            "The least time that a sender may set for a delivery or else the return of a message, announced "
            "by DELIVERBY; 0 for no minimum. Less than a retry takes leaves one attempt, which may be enough."
        ),
    )
    max_future_release: Duration = Field(
        2_592_000.0,
        ge=1,
        le=999_999_999,
        description=(
            "How long a sender may have a message held back, announced by FUTURERELEASE. Picked: what is to "
            "be sent later than in a month belongs in a calendar."
        ),
    )
    routed_local_parts: Literal["refuse", "accept"] = Field(
        "refuse",
        description=(
            "What strangers get for a recipient whose local part has `@`, `%` or `!` in it: 550, or the "
            "answer of the plugins. Such a local part is a mailbox here, yet a server behind us may take it "
            "for a route to elsewhere, and then we would be an open relay. Postfix refuses them, too."
        ),
    )
    strict_addresses: bool = Field(
        False,
        description=(
            "Whether an address in MAIL and RCPT must stand in angle brackets, as RFC 5321 4.1.2 has it. "
            "Scripts and devices forget them, and Postfix, Exim and Haraka do not mind: a mailbox without "
            "them is taken, too, unless it could be read in two ways."
        ),
    )
    max_errors: Count = Field(
        20,
        ge=1,
        description=(
            "Commands that are unknown, malformed or out of order before the connection is ended with 421. "
            "What plugins refuse does not count. An honest client has none; 20 is Postfix's hard limit."
        ),
    )
    max_junk_commands: Count = Field(
        100,
        ge=1,
        description=(
            "NOOP, RSET, VRFY, HELP and the like without any message in between, before the connection is "
            "ended with 421. 100 is Postfix's limit too."
        ),
    )
    max_auth_failures: Count = Field(
        3,
        ge=1,
        description=(
            "Failed logins before the connection is ended with 421; each is answered later than the one "
            "before. A person mistypes a password twice; a program that guesses needs thousands."
        ),
    )
    max_hops: Count = Field(
        50,
        ge=1,
        description=(
            "Received header fields before a message counts as looping and gets 554 5.4.6. RFC 5321 6.3 "
            "suggests at least 100; real mail stays below 30, and Postfix stops at 50."
        ),
    )
    max_command_length: Size = Field(
        2048,
        ge=512,
        description=(
            "The longest command line, in octets. RFC 5321 4.5.3.1.4 asks for 512, and its extensions add "
            "up to about 1,500. Lines within AUTH may be longer (12,288 octets, RFC 4954 4)."
        ),
    )
    max_header_size: Size = Field(
        100 * KIB,
        ge=KIB,
        description="The largest header; a larger one gets 552. Postfix has the same limit.",
    )
    max_header_line: Size = Field(
        32 * KIB,
        ge=0,
        description=(
            "The longest line of a header before the message gets 554; 0 for no limit. RFC 5322 2.1.1 "
            "allows 998 octets, but long References and address lists in one line exist and are harmless."
        ),
    )
    max_line_length: Size = Field(
        0,
        ge=0,
        description=(
            "The longest line of a body before the message gets 554; 0 for no limit, as lines are never "
            "handled one by one here. RFC 5321 4.5.3.1.6 allows 1,000 octets; much real mail has more."
        ),
    )
    bare_newlines: Literal["reject", "normalize"] = Field(
        "reject",
        description=(
            "What to do with a message that has a CR or LF alone: refuse it, or make CRLF of each. Refusing "
            "is safe against SMTP smuggling everywhere behind us; only a broken client notices."
        ),
    )
    max_connections: Count = Field(
        10_000,
        ge=1,
        description=(
            "Connections at a time; further ones get 421 4.7.0. Each takes two file descriptors at most, so "
            "`ulimit -n` must be above twice this."
        ),
    )
    max_connections_per_address: Count = Field(
        50,
        ge=1,
        description=(
            "Connections at a time from one address, or from one /64 with IPv6; further ones get 421 4.7.0. "
            "50 is Postfix's limit too."
        ),
    )
    unlimited_addresses: tuple[Network, ...] = Field(
        (parse_network("127.0.0.0/8"), parse_network("::1/128")),
        description="Networks without a limit per address, such as that of a load balancer.",
    )
    command_timeout: Duration = Field(
        300.0,
        gt=0,
        description=(
            "How long to wait for a command, and for a client to take a reply. RFC 5321 4.5.3.2.7 asks for "
            "at least 5 minutes."
        ),
    )
    data_timeout: Duration = Field(
        300.0,
        gt=0,
        description=(
            "How long to wait for the next octets of a message. RFC 5321 4.5.3.2.5 gives senders 3 minutes "
            "for each."
        ),
    )
    min_data_rate: Count = Field(
        500,
        ge=0,
        description=(
            "Octets a second that a message must bring on average, after `data_rate_grace`; 0 for no limit. "
            "A dial-up modem brings ten times as much, and 25 MiB cannot hold a connection for a day."
        ),
    )
    data_rate_grace: Duration = Field(
        30.0,
        ge=0,
        description=(
            "How long a message may take before its rate matters: long enough for a connection to stall and "
            "recover."
        ),
    )
    hook_timeout: Duration = Field(
        30.0,
        ge=0,
        description=(
            "How long one plugin may take for one hook before the client gets 451; 0 for no limit. A "
            "plugin's own table may say otherwise. Haraka's default."
        ),
    )
    commit_timeout: Duration = Field(
        60.0,
        gt=0,
        description=(
            "How long storing a message may take before the client gets 451. The client waits 10 minutes "
            "for this answer (RFC 5321 4.5.3.2.6); a disk that takes one is broken."
        ),
    )
    shutdown_timeout: Duration = Field(
        30.0,
        ge=0,
        description=(
            "How long connections may go on after the server was told to stop. Haraka's default, and "
            "shorter than the 90 seconds after which systemd kills."
        ),
    )


class DnsSettings(Section):
    """The `[dns]` table: how names are looked up."""

    nameservers: tuple[NameServer, ...] = Field(
        (),
        description=(
            'Servers to ask instead of those in /etc/resolv.conf: `["192.0.2.53", "127.0.0.1:5353"]`. A '
            "mail server does best with a resolver of its own on the same machine."
        ),
    )
    timeout: Duration = Field(
        5.0,
        gt=0,
        description=(
            "How long one lookup may take with all its retries. Long enough for a slow chain of servers; a "
            "client that waits for its greeting gives up after minutes, not seconds."
        ),
    )
    rdns: bool = Field(
        True,
        description="Look up the name of each client's address, for plugins, logs and the Received field.",
    )


class LogSettings(Section):
    """The `[log]` table: what is logged, and how."""

    level: Literal[
        "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "protocol", "data"
    ] = Field(
        "info",
        description=(
            "The least serious level that is written. `info` has one line for each connection and message, "
            "`protocol` each command and reply."
        ),
    )
    format: Literal["text", "logfmt", "json"] = Field(
        "text", description="`text` for people, `logfmt` or `json` for programs that collect logs."
    )
    timestamps: bool = Field(
        True, description="Begin each line with the time. Off for journals that add their own."
    )
    file: PlainPath | None = Field(
        None,
        description=(
            "A file to append to, relative to `state_dir`, instead of standard error. It is opened again on "
            "SIGHUP."
        ),
        examples=["mail.log"],
    )


class PluginSection(Section):
    """A `[plugin.NAME]` table: two keys that every plugin has; those of its own are in `values`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    hook_timeout: Duration | None = Field(
        None,
        ge=0,
        description="How long this plugin may take for one hook, instead of `smtp.hook_timeout`.",
        examples=["1m"],
    )
    on_error: Literal["tempfail", "continue"] = Field(
        "tempfail",
        description=(
            "What happens when the plugin fails: the client gets 451 and comes again, or the hook goes on "
            "as if the plugin had no opinion. Mail that waits is better than mail that was not checked."
        ),
    )

    @property
    def values(self) -> Mapping[str, Any]:
        """The plugin's own keys as they stand in the file."""
        return self.model_extra or {}
