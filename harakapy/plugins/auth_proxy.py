"""auth_proxy: passwords are verified by logging in at another SMTP server, chosen by the user's domain."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import Final, Self

import trio
from msgspec.structs import replace
from pydantic import Field, SecretStr, model_validator

from harakapy import (
    DENY,
    DENYSOFT,
    OK,
    Connection,
    Credentials,
    Duration,
    LoginAnswer,
    LoginCheck,
    NextHop,
    NextHopRoutes,
    NextHopTable,
    NextHopUrls,
    PasswordCredentials,
    Plugin,
    PluginConfig,
    StoreError,
    TlsLevel,
    Verdict,
    hookimpl,
)

MAX_REMEMBERED: Final = 10_000
"""Logins remembered, some 2 MB; the oldest go first. Picked."""


class AuthProxyConfig(PluginConfig):
    """The settings of `AuthProxy`."""

    domains: NextHopRoutes = Field(
        {},
        description=(
            'Where the users of a domain log in, which is what stands behind the "@" of their names: a next '
            "hop, or several that are tried in their order; `.domain` is for all that are below it."
        ),
    )
    default: NextHopUrls = Field(
        (),
        description=(
            "Where all others log in, those without a domain, too; if there is none, they are left to other "
            "plugins."
        ),
    )
    timeout: Duration = Field(
        25.0,
        gt=0,
        description="How long all servers together may take; more than `hook_timeout` does not count.",
    )
    remember: Duration = Field(
        0.0,
        ge=0,
        description=(
            "How long a password that was accepted is accepted again without asking; 0 is never: a password "
            "that was changed counts at once."
        ),
    )

    @model_validator(mode="after")
    def _check_hops(self) -> Self:
        for url in (*self.default, *(url for urls in self.domains.values() for url in urls)):
            hop = NextHop.parse(url.get_secret_value())
            if hop.user or hop.protocol.value == "lmtp":
                raise ValueError(f"{hop} must be smtp or smtps, and without a user: that is who logs in")
        return self


class AuthProxy(Plugin[AuthProxyConfig]):
    """Lets in who could log in at another SMTP server, so that users need no second password.

    Where a next hop says nothing of TLS, the server must have it, with a certificate that is good for its
    name; a password goes in clear only with ``auth_without_tls=true``. What the server refuses with 5xx is a
    wrong password; if none of the servers can tell, logging in fails for now (454). Each login is one attempt
    there. What is remembered is a keyed hash, in memory only.

    Hooks: ``auth_mechanisms`` offers PLAIN and LOGIN, ``auth`` asks the other server.

    Haraka's counterpart: auth/auth_proxy, which takes every certificate, sends passwords in clear where there
    is no TLS, and takes a server that is not there for a wrong password.
    """

    def register(self) -> None:
        """Read the table."""
        self._memory = Memory(self.config.remember)
        self._table = NextHopTable(self.config.domains, settings=self.server.settings)

    def reload(self, config: AuthProxyConfig) -> None:
        """Take another table, and forget who was accepted by the servers of the old one."""
        self.config = config
        self.register()

    @hookimpl
    def hook_auth_mechanisms(self) -> list[str]:
        """Those where the password itself comes."""
        return ["PLAIN", "LOGIN"]

    @hookimpl
    async def hook_auth(self, connection: Connection, credentials: Credentials) -> Verdict | None:
        """What the server of the user's domain says."""
        if not isinstance(credentials, PasswordCredentials):
            return None
        hops = self._hops(credentials.authcid)
        if not hops:
            return None
        now = trio.current_time()
        if self._memory.has(credentials, now):
            return OK
        check = await self._ask(hops, credentials)
        if check.answer is LoginAnswer.UNKNOWN:
            connection.log.error(
                "login cannot be checked", plugin=self.name, user=credentials.authcid, problem=check.text
            )
            return DENYSOFT
        connection.log.info("login checked", plugin=self.name, user=credentials.authcid, answer=check.text)
        if check.answer is LoginAnswer.REFUSED:
            return DENY
        self._memory.add(credentials, now)
        return OK

    def _hops(self, user: str) -> list[NextHop]:
        _, at, domain = user.rpartition("@")
        hops = self._table.for_domain(domain) if at and domain else ()
        found = hops or tuple(map(_parsed, self.config.default))
        return [hop if hop.tls or hop.is_unix else replace(hop, tls=TlsLevel.VERIFY) for hop in found]

    async def _ask(self, hops: list[NextHop], credentials: PasswordCredentials) -> LoginCheck:
        with trio.move_on_after(self.config.timeout):
            try:
                return await self.server.outbound.check_login(hops, credentials.authcid, credentials.password)
            except StoreError as error:
                return LoginCheck(LoginAnswer.UNKNOWN, str(error))
        return LoginCheck(LoginAnswer.UNKNOWN, f"no answer within {self.config.timeout:g} s")


class Memory:
    """Who was accepted with which password, for ``keep_s`` seconds each: hashes by a key of its own."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._key = secrets.token_bytes(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def has(self, credentials: PasswordCredentials, now: float) -> bool:
        """Whether these were accepted, not too long ago."""
        return bool(self._until) and self._until.get(self._hash(credentials), now) > now

    def add(self, credentials: PasswordCredentials, now: float) -> None:
        """Remember these; ``now`` is when they were asked about."""
        if self._keep_s <= 0:
            return
        name = self._hash(credentials)
        self._until[name] = now + self._keep_s
        self._until.move_to_end(name)
        if len(self._until) > MAX_REMEMBERED:
            self._until.popitem(last=False)

    def _hash(self, credentials: PasswordCredentials) -> bytes:
        name, password = credentials.authcid.encode(), credentials.password.encode()
        return hmac.digest(self._key, len(name).to_bytes(4, "big") + name + password, "sha256")


def _parsed(url: SecretStr) -> NextHop:
    return NextHop.parse(url.get_secret_value())
