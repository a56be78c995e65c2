"""record_envelope_addresses: write sender and recipients into the header."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harakapy import Connection, Plugin, PluginConfig, hookimpl

FROM = "X-Envelope-From"
TO = "X-Envelope-To"


class RecordEnvelopeAddressesConfig(PluginConfig):
    """The settings of `RecordEnvelopeAddresses`."""

    recipients: Literal["all", "single", "none"] = Field(
        "all",
        description=(
            "Which messages get `X-Envelope-To`: `all`; only those with a `single` recipient, so that nobody "
            "learns of others; or `none`."
        ),
    )


class RecordEnvelopeAddresses(Plugin[RecordEnvelopeAddressesConfig]):
    """Adds ``X-Envelope-From`` with the sender and an ``X-Envelope-To`` for each accepted recipient.

    Hook: ``data_post``. Never an answer. The null sender is written ``<>``. Fields of these names that came
    with the message are removed, so whoever reads them can rely on them.

    Every recipient can read who else got the message, those in Bcc among them, unless ``recipients`` is
    ``single`` or ``none`` (RFC 5321 7.2).

    Haraka's counterpart: record_envelope_addresses. There recipients are recorded who were refused by a
    plugin behind it, and fields that came with the message stay.
    """

    @hookimpl
    def hook_data_post(self, connection: Connection) -> None:
        """Add the fields."""
        transaction = connection.transaction
        assert transaction is not None, "content comes within one"
        header, is_utf8 = transaction.header, transaction.mail_params.smtputf8
        header.remove(FROM)
        header.remove(TO)
        header.add(FROM, transaction.mail_from.address or "<>", utf8=is_utf8)
        is_shown = {"all": True, "single": len(transaction.rcpt_to) == 1, "none": False}
        if is_shown[self.config.recipients]:
            for recipient in transaction.rcpt_to:
                header.add(TO, recipient.address, utf8=is_utf8)
