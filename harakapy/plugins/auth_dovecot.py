"""auth_dovecot: passwords are verified by Dovecot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import trio
from pydantic import AfterValidator, Field

from harakapy import (
    DENY,
    DENYSOFT,
    OK,
    Connection,
    Credentials,
    Duration,
    Endpoint,
    PasswordCredentials,
    Plugin,
    PluginConfig,
    Server,
    Verdict,
    hookimpl,
)
from harakapy.plugins._dovecot import DovecotClient, DovecotError, DovecotReply, Outcome, parameter

START_TIMEOUT_S: Final = 5.0
"""How long the start of the server waits for Dovecot, which may be starting as well. Picked."""

_ABOUT_THE_USER: Final = frozenset({"authz_fail", "user_disabled", "pass_expired"})
"""Codes of a failure that are about this user. Others, such as mech_ssl_required, are about how Dovecot is
set up: then nobody's password is wrong."""


def _checked_address(text: str) -> str:
    endpoint = Endpoint.parse(text)
    if not endpoint.is_unix and not endpoint.port:
        raise ValueError("must have the port where Dovecot listens")
    return str(endpoint)


class AuthDovecotConfig(PluginConfig):
    """The settings of `AuthDovecot`."""

    address: Annotated[str, AfterValidator(_checked_address)] = Field(
        "unix:/run/dovecot/auth-client",
        description=(
            "Where Dovecot's service `auth` listens for clients: `unix:/path` or `host:port`. Passwords go "
            "there in clear."
        ),
    )
    timeout: Duration = Field(
        25.0,
        gt=0,
        description=(
            "How long Dovecot may take. It lets those who guess wait for up to 17 seconds; more than "
            "`hook_timeout` does not count."
        ),
    )


class AuthDovecot(Plugin[AuthDovecotConfig]):
    """Has Dovecot verify passwords, so that users are those who also read their mail there.

    Speaks the protocol of Dovecot's authentication clients, as Postfix and Exim do. What Dovecot is told of
    the client: its address and port, ours, and whether there is TLS. The user is then who Dovecot says it is.
    If Dovecot is not there, does not answer in time, or cannot tell, logging in fails for now (454).

    Hooks: ``auth_mechanisms`` offers PLAIN and LOGIN, ``auth`` asks Dovecot, ``init_master`` warns if it is
    not there, ``shutdown`` closes the connection.

    Haraka's counterpart: auth/auth_vpopmaild and haraka-plugin-dovecot, of which the latter looks up
    recipients only.
    """

    def register(self) -> None:
        """Take the address; the connection is made when it is needed."""
        self._client = DovecotClient(Endpoint.parse(self.config.address))

    def reload(self, config: AuthDovecotConfig) -> None:
        """Go to another address with the next login."""
        if config.address != self.config.address:
            self._client.close()
            self._client = DovecotClient(Endpoint.parse(config.address))
        self.config = config

    @hookimpl
    async def hook_init_master(self, server: Server) -> None:
        """Tell the operator early that nobody will be able to log in.

        The connection is not kept: workers that come of this process must not share one.
        """
        problem = ""
        with trio.move_on_after(START_TIMEOUT_S) as scope:
            try:
                await self._client.connect()
            except DovecotError as error:
                problem = str(error)
        if scope.cancelled_caught:
            problem = f"no answer from {self.config.address} within {START_TIMEOUT_S:g} s"
        if problem:
            self.log.warn("Dovecot is not there; nobody can log in until it is", problem=problem)
        self._client.close()

    @hookimpl
    def hook_auth_mechanisms(self) -> list[str]:
        """Those where the password itself comes."""
        return ["PLAIN", "LOGIN"]

    @hookimpl
    async def hook_auth(self, connection: Connection, credentials: Credentials) -> Verdict | None:
        """What Dovecot says."""
        if not isinstance(credentials, PasswordCredentials):
            return None
        response = "\0".join((credentials.authzid, credentials.authcid, credentials.password)).encode()
        problem = f"no answer within {self.config.timeout:g} s"
        with trio.move_on_after(self.config.timeout):
            try:
                reply = await self._client.authenticate("PLAIN", list(_parameters(connection)), response)
                return self._verdict(connection, credentials.authcid, reply)
            except DovecotError as error:
                problem = str(error)
        connection.log.error("Dovecot cannot be asked", plugin=self.name, problem=problem)
        return DENYSOFT

    @hookimpl
    def hook_shutdown(self) -> None:
        """Close the connection."""
        self._client.close()

    def _verdict(self, connection: Connection, name: str, reply: DovecotReply) -> Verdict:
        if reply.outcome is Outcome.OK:
            user = reply.get("user") or ""
            if reply.get("nologin") is not None:  # a field of its user database: the password is right, but
                connection.log.info("Dovecot lets this user not log in", plugin=self.name, user=user)
                return DENY
            if user and user.isprintable():
                return OK(value=user)
            connection.log.error("Dovecot did not say which user it is", plugin=self.name)
            return DENYSOFT
        code, reason = reply.get("code") or "", reply.get("reason") or ""
        is_about_user = not code or code in _ABOUT_THE_USER
        if reply.get("temp") is not None or not is_about_user:
            connection.log.error("Dovecot cannot tell", plugin=self.name, user=name, code=code, reason=reason)
            return DENYSOFT
        flags = [flag for flag in ("authz", "user_disabled", "pass_expired") if reply.get(flag) is not None]
        connection.log.info(
            "Dovecot refuses", plugin=self.name, user=name, code=code or " ".join(flags), reason=reason
        )
        return DENY


def _parameters(connection: Connection) -> Iterator[str]:
    """What Dovecot is told of an exchange, in the order of its manual."""
    yield "service=smtp"
    remote, local = connection.remote, connection.local
    for name, value in (("lip", local.ip), ("rip", remote.ip), ("lport", local.port), ("rport", remote.port)):
        if value:  # a client on a unix socket has none
            yield parameter(name, str(value))
    if connection.tls is not None:
        yield "secured"
    yield "nologin"  # it need not be told to anybody else in Dovecot
