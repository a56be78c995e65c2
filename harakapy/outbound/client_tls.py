"""TLS as a client of other hosts: two kinds of trust, each with a context that is made once.

Where TLS is opportunistic nothing is verified: mail would go in clear otherwise, and certificates of mail
servers that name nobody in particular are common (RFC 7435, RFC 7672 1.3). Who wants to know with whom it
talks says VERIFY.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from harakapy.net.tls import TlsHandshakeError, TlsRejectedError, TlsStream, Transport, connect_tls
from harakapy.outbound.hop import TlsLevel

__all__ = ["ClientTls"]


class ClientTls:
    """Begins TLS sessions with hosts; one is enough for a whole server.

    ``ca_file`` has the authorities, in PEM, that certificates must come from where they are verified; None is
    the system's store. It is read when it is needed first.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._unverified: ssl.SSLContext | None = None
        self._verified: ssl.SSLContext | None = None

    async def start(
        self, transport: Transport, level: TlsLevel, server_name: str, *, timeout_s: float
    ) -> TlsStream:
        """Shake hands; with VERIFY the certificate must be good for ``server_name``, a host name or address.

        ``server_name`` is asked for (SNI) at any level, if it is not "". Raises TlsHandshakeError; then, and
        if cancelled here, the caller closes the transport.
        """
        if level is TlsLevel.VERIFY and not server_name:
            raise TlsRejectedError("there is no name to verify the certificate for")
        context = self.context(level)
        try:
            return await connect_tls(transport, context, server_name or None, timeout_s=timeout_s)
        except ValueError as cause:  # OpenSSL is more particular about names than DNS is
            raise TlsRejectedError("the name of the host is none for TLS") from cause

    def context(self, level: TlsLevel) -> ssl.SSLContext:
        """The context of a level. Raises TlsHandshakeError if the authorities cannot be read."""
        if level is not TlsLevel.VERIFY:
            if self._unverified is None:
                self._unverified = _new_context()
                self._unverified.check_hostname = False
                self._unverified.verify_mode = ssl.CERT_NONE
            return self._unverified
        if self._verified is None:
            context = _new_context()
            self._trust(context)
            self._verified = context
        return self._verified

    def _trust(self, context: ssl.SSLContext) -> None:
        if self._ca_file is None:
            context.load_default_certs()
            return
        try:
            context.load_verify_locations(self._ca_file)
        except ssl.SSLError as cause:
            raise TlsHandshakeError(f"{self._ca_file} has no PEM certificates of authorities") from cause
        except OSError as cause:
            raise TlsHandshakeError(f"{self._ca_file} cannot be read: {cause.strerror}") from cause


def _new_context() -> ssl.SSLContext:
    """A context that verifies, for TLS 1.2 and newer (RFC 8996); Python's ciphers have forward secrecy only.

    Compression (CRIME) and renegotiation are off.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context
