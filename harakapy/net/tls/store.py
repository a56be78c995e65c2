"""All certificates of a listener: the one that a client asks for, and new ones when the files change.

Theory of operation. For each name in any certificate there is an *identity*: the certificates for that name,
at most one of each key type, in one SSLContext. A handshake begins in the context of the default identity;
its SNI callback exchanges it for the one that the client asked for. At most once a second a handshake looks
whether the files have changed (a `stat` each); only what did is read again, and the contexts of unchanged
identities stay, with their tickets. A pair that cannot be used is reported and the one read before stays in
service: renewal scripts write two files one after the other, and between them the pair is broken.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from harakapy.net.tls.certificate import (
    Certificate,
    CertificateError,
    CertificatePair,
    FileStamp,
    find_pairs,
    load_certificate,
    stamp,
)
from harakapy.net.tls.identity import Identity, certificates_by_name, look_up
from harakapy.net.tls.policy import TlsPolicy, server_context

__all__ = ["CertificateStore", "ServerSslObject"]

_CHECK_INTERVAL_S: Final = 1.0  # a renewed certificate is in no hurry
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_SniCallback = Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]


class ServerSslObject(ssl.SSLObject):
    """An SSLObject that remembers what the client asked for ("": nothing) and what it was shown."""

    requested_name: str = ""
    identity: Identity | None = None


class _Snapshot(Struct, frozen=True):
    """What all the files gave at one time."""

    certificates: dict[CertificatePair, Certificate]
    by_name: dict[str, Identity]
    default: Identity


class CertificateStore:
    """The certificates of a listener, from a list of pairs or from a directory (see `find_pairs`).

    The default, for clients that name no host or one that we do not have, is the identity of
    ``default_name`` if there is one, else that of the first pair. ``report`` is called with every problem of
    the files, once for each change, and must not raise.

    Raises an ExceptionGroup of CertificateError if one of the listed pairs cannot be used, or none in the
    directory, or not the file of authorities; ValueError if the list is empty. Later the last good state
    stays in service.
    """

    def __init__(
        self,
        source: Iterable[tuple[Path, Path]] | Path,
        policy: TlsPolicy | None = None,
        *,
        default_name: str = "",
        report: Callable[[CertificateError], None] = lambda problem: None,
    ) -> None:
        self._source = (
            source if isinstance(source, Path) else tuple(CertificatePair(*pair) for pair in source)
        )
        if not self._source:
            raise ValueError("no certificates for TLS")
        self._policy = policy or TlsPolicy()
        self._default_name = default_name.lower()
        self._next_check = 0.0
        self._stamps = self._take_stamps()
        load = _Load(self._policy, self._select, None)
        snapshot = load.finish(self._source, self._default_name)
        if snapshot is None or (load.problems and not isinstance(source, Path)):
            raise ExceptionGroup("certificates that cannot be used", list(load.problems.values()))
        self._snapshot = snapshot
        self._report = report
        self._report_all(load)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """All certificates in service."""
        return tuple(self._snapshot.certificates.values())

    def identity_for(self, name: str) -> Identity:
        """What a client is shown who asks for this host; "" for one that asks for none."""
        return look_up(self._snapshot.by_name, name.lower().rstrip(".")) or self._snapshot.default

    def context(self, now: float) -> ssl.SSLContext:
        """The context to begin a handshake in, after a look at the files if it is time for one.

        ``now`` is in seconds, of a clock that does not jump. Blocks for a `stat` of each file, and after a
        change until what changed is read.
        """
        if now >= self._next_check:
            self._next_check = now + _CHECK_INTERVAL_S
            stamps = self._take_stamps()
            if stamps != self._stamps:
                self._stamps = stamps
                self._reload()
        return self._snapshot.default.context

    def _reload(self) -> None:
        load = _Load(self._policy, self._select, self._snapshot)
        self._snapshot = load.finish(self._source, self._default_name) or self._snapshot
        self._report_all(load)

    def _report_all(self, load: _Load) -> None:
        for problem in load.problems.values():
            self._report(problem)

    def _take_stamps(self) -> list[tuple[Path, FileStamp]]:
        """Of everything that a reload would read, without reading it."""
        source = self._source
        paths = _entries(source) if isinstance(source, Path) else [path for pair in source for path in pair]
        if self._policy.client_ca_file is not None:
            paths.append(self._policy.client_ca_file)
        return [(path, stamp(path)) for path in paths]

    def _select(self, ssl_object: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """The SNI callback, called in every handshake, also if the client named no host."""
        assert isinstance(ssl_object, ServerSslObject)
        if name is not None and _SERVER_NAME.fullmatch(name):
            ssl_object.requested_name = name.lower()
        identity = self.identity_for(ssl_object.requested_name)
        ssl_object.identity = identity
        if identity.context is not context:
            ssl_object.context = identity.context


def _entries(directory: Path) -> list[Path]:
    """What is in a directory and in the directories in it; nothing if it cannot be read."""
    try:
        return sorted([*directory.iterdir(), *directory.glob("*/*.pem")])
    except OSError:
        return []


class _Load:
    """One pass over the files; ``before`` is what an earlier one gave, and what to fall back on."""

    def __init__(self, policy: TlsPolicy, select: _SniCallback, before: _Snapshot | None) -> None:
        self._policy = policy
        self._select = select
        self._before = before
        self._authorities = None if policy.client_ca_file is None else stamp(policy.client_ca_file)
        self._made: dict[tuple[Certificate, ...], Identity | None] = {}
        if before is not None:
            identities = (*before.by_name.values(), before.default)
            self._made = {one.certificates: one for one in identities if one.authorities == self._authorities}
        # Those whose files are broken now: they live on in old contexts, a new one cannot be made of them.
        self._outlived: set[Certificate] = set()
        # By their text: the same file may be in the way of several identities.
        self.problems: dict[str, CertificateError] = {}

    def finish(self, source: Path | tuple[CertificatePair, ...], default_name: str) -> _Snapshot | None:
        """The new state, None if there is none that could be used."""
        certificates = self._read(self._pairs(source))
        if not certificates:
            return None
        by_name = {}
        for name, group in certificates_by_name(certificates.values()).items():
            identity = self._identity(group) or self._identity_before(name)
            if identity is not None:
                by_name[name] = identity
        default = look_up(by_name, default_name) or self._first(certificates, by_name)
        if default is None:
            return None
        return _Snapshot(certificates, by_name, default)

    def _pairs(self, source: Path | tuple[CertificatePair, ...]) -> Iterable[CertificatePair]:
        if not isinstance(source, Path):
            return source
        try:
            pairs = list(find_pairs(source))
        except OSError as cause:
            self._note(CertificateError(source, str(cause.strerror)))
            return ()
        if not pairs:
            self._note(CertificateError(source, "has no certificate with a key"))
        return pairs

    def _read(self, pairs: Iterable[CertificatePair]) -> dict[CertificatePair, Certificate]:
        known = {} if self._before is None else self._before.certificates
        certificates = {}
        for pair in pairs:
            certificate = known.get(pair)
            if certificate is None or certificate.stamps != pair.stamps():
                try:
                    certificate = load_certificate(pair)
                except CertificateError as problem:
                    self._note(problem)
                    self._outlived |= {certificate} if certificate else set()
            if certificate is not None:
                certificates[pair] = certificate
        return certificates

    def _identity(self, group: tuple[Certificate, ...]) -> Identity | None:
        """The identity of these certificates, the one from before if there was; None if it cannot be made."""
        if group not in self._made and self._outlived.isdisjoint(group):
            try:
                context = server_context(self._policy, (certificate.pair for certificate in group))
            except CertificateError as problem:
                self._note(problem)
                self._made[group] = None
            else:
                context.sslobject_class = ServerSslObject
                context.sni_callback = self._select
                bindings = tuple(one.end_point_binding for one in group if one.end_point_binding)
                self._made[group] = Identity(context, group, self._authorities, bindings)
        return self._made.get(group)

    def _identity_before(self, name: str) -> Identity | None:
        return None if self._before is None else self._before.by_name.get(name)

    def _first(
        self, certificates: dict[CertificatePair, Certificate], by_name: dict[str, Identity]
    ) -> Identity | None:
        first = next(iter(certificates.values()))
        if first.names:
            return by_name.get(first.names[0])
        return self._identity((first,))

    def _note(self, problem: CertificateError) -> None:
        self.problems.setdefault(str(problem), problem)
