"""How reports are made: the settings, with what they name looked up."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from harakapy.config.outbound import ReportSettings
from harakapy.mail.report_text import BUILT_IN, ReportText
from harakapy.smtp.address import Address

__all__ = ["ReportTerms"]


class ReportTerms(Struct, frozen=True, kw_only=True):
    """What a `Reporter` is to do."""

    hostname: str
    from_address: Address
    from_name: str = "Mail Delivery System"
    postmaster: Address | None = None
    """Who is told of failures that nobody else can be told of; None: the log."""
    return_content: int = 51_200
    """Octets up to which a message goes back whole."""
    collect_s: float = 10.0
    max_per_hour: int = 0
    """0: no limit; so in the next."""
    max_per_addressee: int = 0
    max_wait_s: float = 86_400.0
    """How long a report waits for its addressee's limit before it is not sent at all."""
    text: ReportText = BUILT_IN

    @classmethod
    def of(cls, settings: ReportSettings, hostname: str, *, max_wait_s: float = 86_400.0) -> Self:
        """Those of the settings; ``max_wait_s`` is no longer than reports are tried to be delivered.

        Reads the template: raises OSError, or ValueError if it is none.
        """
        text = BUILT_IN
        if settings.template is not None:
            text = ReportText.parse(settings.template.read_text("utf-8"))
        return cls(
            hostname=hostname,
            from_name=settings.from_name,
            from_address=Address.parse(settings.address or f"MAILER-DAEMON@{hostname}", utf8=False),
            postmaster=Address.parse(settings.postmaster) if settings.postmaster else None,
            return_content=settings.return_content,
            collect_s=settings.collect,
            max_per_hour=settings.max_per_hour,
            max_per_addressee=settings.max_per_sender,
            max_wait_s=max_wait_s,
            text=text,
        )
