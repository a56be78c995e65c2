"""What a client is offered and held to: settings in the form in which a conversation uses them.

Made once for each set of settings; connections keep the terms under which they began, so a reload changes
nothing for those that are open.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from harakapy.config import ExtensionSettings, ListenSettings, Network, Settings
from harakapy.net.tls import CertificateStore
from harakapy.smtp import ServerLimits

OFFERED = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME")
"""The extensions without parameters that every client is offered."""

MAX_AUTH_DELAY_S = 10.0
"""The longest delay of a failed login where hooks have no timeout, half of which it is elsewhere: a client
that waits for a reply must not give up. Picked."""


class TlsTerms(Struct, frozen=True):
    """What a handshake needs: our certificates, and how long it may take."""

    certificates: CertificateStore
    handshake_timeout_s: float


class Terms(Struct, frozen=True):
    """The rules of a conversation at one listener. Times are seconds, sizes octets; 0 switches a limit off.

    ``tls`` is what a handshake needs, None where there is no TLS; it is the business of the admission where
    ``is_tls_implicit``, and offered as STARTTLS elsewhere. ``proxies`` are believed in what they say of the
    client's address, ``xclient`` in what they say of others by XCLIENT. Where ``is_submission`` only users
    who have logged in may send; ``has_auth_without_tls`` lets them do so in clear. ``extensions`` are the
    keywords of what is offered and ``capabilities`` its lines, of which a conversation withholds what does
    not fit it; FUTURERELEASE has no line there, as it tells a time. Without it ``max_hold_s`` is 0.
    """

    tls: TlsTerms | None
    is_tls_implicit: bool
    is_submission: bool
    has_auth_without_tls: bool
    proxies: tuple[Network, ...]
    xclient: tuple[Network, ...]
    hostname: str
    greeting: str
    extensions: frozenset[str]
    capabilities: tuple[str, ...]
    limits: ServerLimits
    max_message_octets: int
    max_header_octets: int
    max_header_line_octets: int
    max_line_octets: int
    normalise_newlines: bool
    max_recipients: int
    has_routed_recipients: bool
    max_messages: int
    max_hold_s: int
    min_deliver_by_s: int
    max_hops: int
    max_errors: int
    max_junk_commands: int
    max_auth_failures: int
    max_auth_delay_s: float
    spool_after_octets: int
    spool_dir: Path
    command_timeout_s: float
    data_timeout_s: float
    min_data_rate: float
    data_rate_grace_s: float
    commit_timeout_s: float

    @classmethod
    def of(
        cls,
        settings: Settings,
        listen: ListenSettings | None = None,
        certificates: CertificateStore | None = None,
    ) -> Terms:
        """The terms that settings make for a listener; without one, for a stream that came from elsewhere."""
        smtp = settings.smtp
        offer = _Offer.of(settings, listen)
        tls = None
        if listen is not None and listen.tls != "off" and certificates is not None:
            tls = TlsTerms(certificates, settings.tls.handshake_timeout)
        is_implicit = listen is not None and listen.tls == "implicit"
        starttls = ("STARTTLS",) if tls is not None and not is_implicit else ()
        return cls(
            tls=tls,
            is_tls_implicit=is_implicit,
            is_submission=listen is not None and listen.role == "submission",
            has_auth_without_tls=listen is not None and listen.auth_without_tls,
            proxies=() if listen is None else listen.proxies,
            xclient=() if listen is None else listen.xclient,
            hostname=settings.hostname,
            greeting=smtp.greeting,
            extensions=frozenset({*OFFERED, *starttls, "SIZE", *offer.keywords}),
            capabilities=(*OFFERED, *starttls, *offer.lines),
            limits=ServerLimits(
                max_command_octets=smtp.max_command_length, strict_addresses=smtp.strict_addresses
            ),
            max_message_octets=smtp.max_message_size,
            max_header_octets=smtp.max_header_size,
            max_header_line_octets=smtp.max_header_line,
            max_line_octets=smtp.max_line_length,
            normalise_newlines=smtp.bare_newlines == "normalize",
            max_recipients=smtp.max_recipients,
            has_routed_recipients=smtp.routed_local_parts == "accept",
            max_messages=smtp.max_messages,
            max_hold_s=int(smtp.max_future_release) if "FUTURERELEASE" in offer.keywords else 0,
            min_deliver_by_s=int(smtp.min_deliver_by),
            max_hops=smtp.max_hops,
            max_errors=smtp.max_errors,
            max_junk_commands=smtp.max_junk_commands,
            max_auth_failures=smtp.max_auth_failures,
            max_auth_delay_s=(smtp.hook_timeout or MAX_AUTH_DELAY_S * 2) / 2,
            spool_after_octets=smtp.spool_after,
            spool_dir=settings.spool_dir,
            command_timeout_s=smtp.command_timeout,
            data_timeout_s=smtp.data_timeout,
            min_data_rate=smtp.min_data_rate,
            data_rate_grace_s=smtp.data_rate_grace,
            commit_timeout_s=smtp.commit_timeout,
        )


class _Offer(Struct, frozen=True):
    """The extensions that depend on settings: their keywords, and their lines with the numbers."""

    keywords: frozenset[str]
    lines: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, listen: ListenSettings | None) -> _Offer:
        smtp = settings.smtp
        switches = ExtensionSettings() if listen is None else listen.extensions
        has_hold = switches.futurerelease
        if has_hold is None:
            has_hold = listen is not None and listen.role == "submission"
        offered = {
            "DSN": switches.dsn,
            "DELIVERBY": switches.deliverby,
            "MT-PRIORITY": switches.mt_priority,
            "REQUIRETLS": switches.requiretls,
            "FUTURERELEASE": has_hold,
        }
        keywords = frozenset(keyword for keyword, is_offered in offered.items() if is_offered)
        minimum = int(smtp.min_deliver_by)
        numbers = {"DELIVERBY": f"DELIVERBY {minimum}" if minimum else "DELIVERBY"}
        lines = [numbers.get(keyword, keyword) for keyword in offered if keyword in keywords]
        if has_hold:
            lines.remove("FUTURERELEASE")  # it tells a time, see `extensions`
        mails = f"MAILMAX={smtp.max_messages} " if smtp.max_messages else ""
        limits = f"LIMITS {mails}RCPTMAX={smtp.max_recipients}"  # RFC 9422
        return cls(keywords, (*lines, f"SIZE {smtp.max_message_size}", limits))
