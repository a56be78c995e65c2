"""rcpt_to_in_host_list: take mail for the domains in a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from harakapy import (
    DENY,
    OK,
    Address,
    Connection,
    ListFile,
    PatternFile,
    Plugin,
    PluginConfig,
    Problem,
    Verdict,
    hookimpl,
    to_ascii,
)


def canonical_host(host: str) -> str:
    """The one form in which hosts are compared: lower case, A-labels, no final dot; or an address literal.

    Raises ValueError if it is neither a domain name nor a literal.
    """
    return Address("postmaster", host).host if host.startswith("[") else to_ascii(host)


def _listed_host(host: str) -> str:
    try:
        return canonical_host(host)
    except ValueError as error:
        hint = "; patterns go into host_list_regex" if "*" in host else ""
        raise ValueError(f"must be domain names: {error}{hint}") from None


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"must be regular expressions: {error}") from None
    return text


class RcptToInHostListConfig(PluginConfig):
    """The settings of `RcptToInHostList`."""

    hosts: tuple[Annotated[str, AfterValidator(_listed_host)], ...] = Field(
        (),
        description=(
            "Domains whose recipients are accepted. If this, `host_list` and `host_list_regex` are all left "
            "out: the server's own `hostname`, and `localhost`."
        ),
        examples=[["example.com", "bücher.example"]],
    )
    host_list: Path | None = Field(
        None,
        description=(
            "A file with more of them, one a line, `#` begins a comment line; relative to the configuration. "
            "It is read again within a second after it has changed."
        ),
        examples=["host_list"],
    )
    host_list_regex: Path | tuple[Annotated[str, AfterValidator(_expression)], ...] = Field(
        (),
        description=(
            "Regular expressions, or a file of them as with `host_list`. Each must match the whole domain "
            "in its ASCII form; case does not count."
        ),
        examples=[[r"(.+\.)?example\.org"]],
    )
    anti_spoof: bool = Field(
        False,
        description="Refuse a sender in one of these domains unless the client is relaying.",
    )


class RcptToInHostList(Plugin[RcptToInHostListConfig]):
    """Accepts recipients in the listed domains; whether the mailbox exists, it does not know.

    Hooks: ``rcpt`` answers OK for a listed domain and nothing for any other. ``mail`` sets the note
    ``local_sender`` of the transaction if the sender's domain is listed, for other plugins; with
    ``anti_spoof`` it answers DENY ``550 5.7.1`` then, unless the client is relaying.

    Domains are compared in one form, lower case and with A-labels: ``Bücher.example`` in a list and
    ``xn--bcher-kva.example`` in RCPT are the same.

    The mailbox ``postmaster`` is accepted at the bare ``<postmaster>``, at the server's own name and at the
    address the client has connected to, listed or not, since every server must have it (RFC 5321 4.5.1).
    Other mailboxes at the server's name are accepted if that is listed, and then also at that address,
    ``user@[192.0.2.1]``, which means the same host (RFC 1123 5.2.17).

    Results: ``fail`` gets ``rcpt_to`` for a recipient elsewhere and ``mail_from.anti_spoof`` for a refused
    sender. Of a recipient that is ours nothing is noted: that happens for every message.

    Haraka's counterpart: rcpt_to.in_host_list with rcpt_to.host_list_base. There ``postmaster`` and literals
    are not accepted, domains are compared as they come, and settings are in three files of fixed names. What
    it answers for a relaying client with a local sender, the core does here for every relaying client.
    """

    _hosts: frozenset[str]

    def register(self) -> None:
        """Read the lists. Raises ConfigError if a file of them cannot be used."""
        self._use(self.config)

    def reload(self, config: RcptToInHostListConfig) -> None:
        """Take other settings; if a file of them cannot be used, raises ConfigError and changes nothing."""
        self._use(config)

    def _use(self, config: RcptToInHostListConfig) -> None:
        settings = self.server.settings
        hostname = settings.hostname if settings.hostname.startswith("[") else settings.hostname.lower()
        hosts = frozenset(config.hosts)
        if not (config.host_list or config.host_list_regex or "hosts" in config.model_fields_set):
            hosts = frozenset({hostname, "localhost"})
        host_file = _HostFile(settings.directory, config.host_list, self._report)
        patterns = _patterns(settings.directory, config.host_list_regex, self._report)
        self.config, self._hosts, self._hostname = config, hosts, hostname
        self._host_file, self._is_matched = host_file, patterns

    @hookimpl
    def hook_mail(self, connection: Connection, sender: Address) -> Verdict | None:
        """Note a local sender; with ``anti_spoof`` refuse it to strangers."""
        if not sender.host or not (sender.host in self._hosts or self._is_local(sender.host)):
            return None
        transaction = connection.transaction
        assert transaction is not None, "MAIL has begun it"
        if self.config.anti_spoof and not connection.relaying:
            connection.results.add(self, fail="mail_from.anti_spoof")
            return DENY(f"5.7.1 Mail from domain '{sender.host}' is not allowed from your host")
        transaction.notes["local_sender"] = True
        return None

    @hookimpl
    def hook_rcpt(self, connection: Connection, recipient: Address) -> Verdict | None:
        """Accept a recipient in a listed domain."""
        host = recipient.host
        if host in self._hosts or (host and self._is_local(host)):
            return OK
        if self._is_ours(recipient, connection.local.ip):
            return OK
        assert connection.transaction is not None, "RCPT comes within one"
        connection.transaction.results.add(self, fail="rcpt_to")
        return None

    def _is_local(self, host: str) -> bool:
        """Whether the host is listed; for what is not in ``_hosts`` as it stands."""
        if not host.isascii():
            try:
                host = canonical_host(host)
            except ValueError:  # a name that is none in IDNA 2008 is in no list
                return False
        return host in self._hosts or host in self._host_file or self._is_matched(host)

    def _is_ours(self, recipient: Address, local_ip: str) -> bool:
        """Whether this is a mailbox of the server itself, as opposed to its domains."""
        host, is_postmaster = recipient.host, recipient.user.lower() == "postmaster"
        if not host or host == self._hostname:
            return is_postmaster
        if not host.startswith("[") or host != _literal(local_ip):
            return False
        return is_postmaster or self._hostname in self._hosts or self._is_local(self._hostname)

    def _report(self, problem: Problem) -> None:
        self.log.error("host list not read again, the old one stays in force", problem=str(problem))


class _HostFile:
    """The hosts of a list file in canonical form; empty if there is no file."""

    def __init__(self, directory: Path, path: Path | None, report: Callable[[Problem], None]) -> None:
        self._file = None if path is None else ListFile(directory / path.expanduser(), report=report)
        self._report = report
        self._entries: tuple[str, ...] = ()
        self._hosts: frozenset[str] = frozenset()

    def __contains__(self, host: str) -> bool:
        if self._file is None:
            return False
        entries = self._file.entries
        if entries is not self._entries:  # read again
            self._hosts = frozenset(filter(None, map(self._canonical, entries)))
            self._entries = entries
        return host in self._hosts

    def _canonical(self, entry: str) -> str:
        try:
            return canonical_host(entry)
        except ValueError as error:
            assert self._file is not None
            self._report(Problem(str(self._file.path), "", f"{entry} is left out: {error}"))
            return ""


def _patterns(
    directory: Path, given: Path | tuple[str, ...], report: Callable[[Problem], None]
) -> Callable[[str], bool]:
    """What tells whether an expression matches. Raises ConfigError if the file of them cannot be used."""
    if isinstance(given, Path):
        return PatternFile(directory / given.expanduser(), report=report).__contains__
    if not given:
        return lambda host: False
    matches = [re.compile(text, re.IGNORECASE).fullmatch for text in given]
    return lambda host: any(match(host) for match in matches)


def _literal(ip: str) -> str:
    """The address literal of an IP address, as `Address.host` has it; "" for a unix socket."""
    if not ip:
        return ""
    return canonical_host(f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]")
