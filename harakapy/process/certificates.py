"""From the ``[tls]`` table to the certificates of a server."""

from __future__ import annotations

import ssl

from harakapy.config import ConfigError, Problem, Settings
from harakapy.log import Logger
from harakapy.net.tls import MODERN_CIPHERS, CertificateStore, ClientCertificates, TlsPolicy

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def open_certificates(settings: Settings, log: Logger) -> CertificateStore | None:
    """The certificates that the settings name; None if they name none.

    A file that is broken later keeps the certificate that it had, with an error in the log. Raises
    ConfigError with every file that cannot be used, and every listener that cannot do without one.
    """
    tls = settings.tls
    if not tls.has_certificate:
        _refuse_implicit_tls(settings)
        return None
    source = tls.directory or [(pair.certificate, pair.key) for pair in tls.certificates]
    try:
        policy = TlsPolicy(
            minimum_version=VERSIONS[tls.minimum_version],
            ciphers=tls.ciphers or MODERN_CIPHERS,
            client_certificates=ClientCertificates[tls.client_certificates.upper()],
            client_ca_file=tls.client_ca,
        )
        return CertificateStore(
            source,
            policy,
            default_name=settings.hostname,
            report=lambda problem: log.error("certificate not used", problem=str(problem)),
        )
    except ExceptionGroup as group:
        problems = [Problem(settings.file, "tls", str(problem)) for problem in group.exceptions]
    except ValueError as error:
        problems = [Problem(settings.file, "tls", str(error))]
    raise ConfigError(problems)


def _refuse_implicit_tls(settings: Settings) -> None:
    """A listener that is to begin with TLS must not fall back to clear text."""
    problems = [
        Problem(settings.file, f"listen[{number}].tls", "needs a certificate in [tls]", given='"implicit"')
        for number, listen in enumerate(settings.listen)
        if listen.tls == "implicit"
    ]
    if problems:
        raise ConfigError(problems)
