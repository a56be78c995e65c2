"""AUTH: what is offered, the exchanges, what success gives, what failure costs."""

import base64
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from harakapy import (
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    OK,
    Connection,
    CramMd5Credentials,
    Credentials,
    ExternalCredentials,
    ListenSettings,
    PasswordCredentials,
    Plugin,
    ScramCredentials,
    ScramSecret,
    Server,
    TokenCredentials,
    Verdict,
    hookimpl,
)
from harakapy.inbound import DecoyKeeper
from harakapy.log import Level, StreamTarget, open_logger
from harakapy.smtp import Reply
from harakapy.smtp.sasl import (
    MECHANISMS,
    ChannelBinding,
    ClientMechanism,
    CramMd5Client,
    ExternalClient,
    LoginClient,
    OAuthBearerClient,
    PlainClient,
    ScramClient,
    ScramPlusClient,
    XOAuth2Client,
)
from harakapy.smtp.scram_secret import DEFAULT_ITERATIONS
from harakapy.testing import Client, connect, play

from .scene import MESSAGE, Accept, serving, settings
from .test_tls import authority, calling, encrypted, listening

__all__ = ["authority"]

USER, PASSWORD, TOKEN = "ann@example.com", "correct horse", "t0ken"
ALL = [*MECHANISMS]
CLEAR = ListenSettings(address="127.0.0.1:0", auth_without_tls=True)
SECRET = ScramSecret.derive(PASSWORD, salt=b"salt", iterations=4096)


class Judge(Plugin):
    """Knows one user, by every kind of proof."""

    def __init__(self, answer: Verdict = OK) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[Credentials] = []
        self.users: list[tuple[str, str, bool]] = []

    @hookimpl
    def hook_auth(self, connection: Connection, credentials: Credentials) -> Verdict | None:
        self.seen.append(credentials)
        assert not connection.auth_user
        return self.answer if self._is_proven(credentials) else None

    def _is_proven(self, credentials: Credentials) -> bool:
        if isinstance(credentials, TokenCredentials):
            return credentials.token == TOKEN
        if isinstance(credentials, ExternalCredentials):
            return True
        if credentials.authcid != USER:
            return False
        if isinstance(credentials, PasswordCredentials):
            return credentials.password == PASSWORD
        if isinstance(credentials, CramMd5Credentials):
            return credentials.verify(PASSWORD)
        return isinstance(credentials, ScramCredentials)

    @hookimpl
    def hook_mail(self, connection: Connection) -> None:
        self.users.append((connection.auth_user, connection.auth_mechanism, connection.relaying))


class JudgeOfAll(Judge):
    """Says that it can judge every mechanism, and stores a secret."""

    name = "judge"

    @hookimpl
    def hook_auth_mechanisms(self) -> list[str]:
        return ALL

    @hookimpl
    def hook_auth_secret(self, user: str) -> ScramSecret | None:
        return SECRET if user == USER else None


@asynccontextmanager
async def greeted(
    folder: Path, *plugins: object, listen: ListenSettings = CLEAR, **values: Any
) -> AsyncIterator[Client]:
    """A client that has said EHLO to a server whose log is in the file `log` of the folder."""
    with (folder / "log").open("wb") as file:
        log = open_logger(Level.DATA, target=StreamTarget(file))
        server = Server(settings(folder, **values), plugins=plugins, log=log, strict=True)
        async with server.running(), connect(server, listen=listen) as client:
            await client.reply()
            await client.command("EHLO client.test")
            yield client
        server.log.output.sink.flush()


async def log_in(client: Client, mechanism: ClientMechanism) -> Reply:
    """The last reply of the exchange, begun without an initial response."""
    response = mechanism.initial_response()
    reply = await client.command(f"AUTH {mechanism.name}")
    while reply.code == 334:
        if reply.text or response is None:
            response = mechanism.step(base64.b64decode(reply.text))
        reply = await client.command(base64.b64encode(response or b"").decode())
    return reply


def plain(user: str = USER, password: str = PASSWORD, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


def offered(reply: Reply) -> list[str]:
    return [word for line in reply.lines if line.startswith("AUTH ") for word in line.split()[1:]]


async def test_plain_with_an_initial_response_logs_in(tmp_path: Path) -> None:
    judge = Judge()
    async with greeted(tmp_path, judge) as client:
        reply = await client.command(f"AUTH PLAIN {plain()}")
        assert str(reply) == "235 2.7.0 Authentication successful"
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        assert (await client.command("RCPT TO:<anybody@elsewhere.test>")).code == 250
    assert judge.users == [(USER, "PLAIN", True)]


@pytest.mark.parametrize(
    "mechanism",
    [
        PlainClient(USER, PASSWORD),
        LoginClient(USER, PASSWORD),
        CramMd5Client(USER, PASSWORD),
        ScramClient(USER, PASSWORD),
        OAuthBearerClient(USER, TOKEN),
        XOAuth2Client(USER, TOKEN),
    ],
    ids=lambda mechanism: mechanism.name,
)
async def test_every_mechanism_logs_in(mechanism: ClientMechanism, tmp_path: Path) -> None:
    judge = JudgeOfAll()
    async with greeted(tmp_path, judge) as client:
        assert (await log_in(client, mechanism)).code == 235
        await client.command("MAIL FROM:<>")
    assert judge.users == [(USER, mechanism.name, True)]
    assert mechanism.is_complete


@pytest.mark.parametrize(
    "mechanism",
    [
        PlainClient(USER, "wrong"),
        LoginClient(USER, "wrong"),
        CramMd5Client(USER, "wrong"),
        ScramClient(USER, "wrong"),
        ScramClient("nobody", PASSWORD),
        PlainClient("nobody", PASSWORD),
        OAuthBearerClient(USER, "wrong"),
        XOAuth2Client(USER, "wrong"),
    ],
    ids=lambda mechanism: mechanism.name,
)
async def test_wrong_credentials_get_one_reply_in_every_mechanism(
    mechanism: ClientMechanism, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    judge = JudgeOfAll()
    async with greeted(tmp_path, judge) as client:
        before = trio.current_time()
        reply = await log_in(client, mechanism)
        assert str(reply) == "535 5.7.8 authentication credentials invalid"
        assert trio.current_time() == before + 1.0
        await client.command("MAIL FROM:<>")
        assert (await client.command("RCPT TO:<a@elsewhere.test>")).code == 550
    assert judge.users == [("", "", False)]


async def test_plain_and_login_are_offered_where_no_plugin_says_more(tmp_path: Path) -> None:
    async with greeted(tmp_path, Judge()) as client:
        assert offered(await client.command("EHLO client.test")) == ["PLAIN", "LOGIN"]
        assert (await client.command("AUTH CRAM-MD5")).code == 504


async def test_what_works_is_offered_the_strongest_first(tmp_path: Path) -> None:
    async with greeted(tmp_path, JudgeOfAll()) as client:
        assert offered(await client.command("EHLO client.test")) == [
            "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5", "PLAIN", "LOGIN",
        ]  # fmt: skip


async def test_without_a_plugin_auth_is_no_command(tmp_path: Path) -> None:
    async with greeted(tmp_path) as client:
        assert offered(await client.command("EHLO client.test")) == []
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 500


async def test_without_tls_auth_is_not_offered_and_refused(tmp_path: Path) -> None:
    judge = Judge()
    async with greeted(tmp_path, judge, listen=ListenSettings(address="127.0.0.1:0")) as client:
        assert offered(await client.command("EHLO client.test")) == []
        assert str(await client.command(f"AUTH PLAIN {plain()}")).startswith("538 5.7.11 ")
    assert judge.seen == []


DIALOGUES = {
    "an_unknown_mechanism": "C: AUTH DIGEST-MD5\nS: 504 5.5.4 *\nC: NOOP\nS: 250 *",
    "cancelled": "C: AUTH PLAIN\nS: 334 \nC: *\nS: 501 5.7.0 *\nC: NOOP\nS: 250 *",
    "cancelled_in_login": "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 334 UGFzc3dvcmQ6\nC: *\nS: 501 *",
    "cancelled_in_scram":
        "C: AUTH SCRAM-SHA-256\nS: 334 \nC: biwsbj1hLHI9Yg==\nS: 334 *\nC: *\nS: 501 5.7.0 *",
    "not_base64": "C: AUTH PLAIN\nS: 334 \nC: a*b\nS: 501 5.5.2 *\nC: NOOP\nS: 250 *",
    "an_initial_response_not_base64": "C: AUTH PLAIN a*b\nS: 501 5.5.2 *\nC: NOOP\nS: 250 *",
    "an_empty_initial_response": "C: AUTH PLAIN =\nS: 501 5.5.2 *",
    "one_nul_too_few": "C: AUTH PLAIN AGFubg==\nS: 501 5.5.2 *",
    "one_nul_too_many": "C: AUTH PLAIN AGEAYgBj\nS: 501 5.5.2 *",
    "an_empty_password": "C: AUTH PLAIN AGFubgA=\nS: 535 5.7.8 *",
    "cram_md5_with_an_initial_response": "C: AUTH CRAM-MD5 YQ==\nS: 501 5.5.2 *",
    "within_a_transaction": "C: MAIL FROM:<>\nS: 250 *\nC: AUTH PLAIN\nS: 503 5.5.1 *\nC: RSET\nS: 250 *",
    "no_mechanism": "C: AUTH\nS: 501 5.5.4 *",
    "a_bearer_token_malformed":
        "C: AUTH OAUTHBEARER bixhPWEsAWF1dGg9AQE=\nS: 334 eyJ*\nC: AQ==\nS: 535 5.7.8 *",
    "scram_with_a_binding_it_has_not": "C: AUTH SCRAM-SHA-256 cD10bHMtdW5pcXVlLCxuPWEscj1i\nS: 535 5.7.8 *",
    "after_helo": "C: HELO x.test\nS: 250 *\nC: AUTH PLAIN\nS: 503 5.5.1 *",
    "twice": f"C: AUTH PLAIN {plain()}\nS: 235 *\nC: AUTH PLAIN {plain()}\nS: 503 5.5.1 already *",
}  # fmt: skip


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
async def test_dialogue(dialogue: str, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with greeted(tmp_path, JudgeOfAll()) as client:
        await play(dialogue, client)


@pytest.mark.parametrize("octets", [12288, 12290, 102400])
async def test_a_response_too_long_is_refused_or_ends_the_session(octets: int, tmp_path: Path) -> None:
    judge = Judge()
    async with greeted(tmp_path, judge) as client:
        await client.command("AUTH PLAIN")
        assert (await client.command("A" * (octets - 2))).code in (500, 501)
    assert judge.seen == []


async def test_after_login_ehlo_offers_no_auth_and_keeps_the_user(tmp_path: Path) -> None:
    judge = Judge()
    async with greeted(tmp_path, judge) as client:
        await client.command(f"AUTH PLAIN {plain()}")
        assert offered(await client.command("EHLO client.test")) == []
        await client.command("MAIL FROM:<>")
    assert judge.users == [(USER, "PLAIN", True)]


async def test_failures_are_answered_later_and_later_and_end_the_session(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    times = [trio.current_time()]
    async with greeted(tmp_path, Judge(), smtp={"max_auth_failures": 4}) as client:
        for _ in range(3):
            assert (await client.command(f"AUTH PLAIN {plain(password='wrong')}")).code == 535
            times.append(trio.current_time())
        reply = await client.command(f"AUTH PLAIN {plain(password='wrong')}")
        assert str(reply) == "421 4.7.0 Too many failed logins, closing connection"
        times.append(trio.current_time())
        assert await client.reply() is None
    assert [after - before for before, after in pairwise(times)] == [1, 2, 4, 8]


async def test_the_delay_stays_below_the_hook_timeout(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with greeted(tmp_path, Judge(), smtp={"hook_timeout": "1s"}) as client:
        before = trio.current_time()
        await client.command(f"AUTH PLAIN {plain(password='wrong')}")
        assert trio.current_time() == before + 0.5


@pytest.mark.parametrize(
    ("answer", "reply", "code_after"),
    [
        (DENY("5.7.1 account closed"), "535 5.7.1 account closed", 250),
        (DENYSOFT, "454 4.7.0 Temporary authentication failure", 250),
        (DENYDISCONNECT, "535 5.7.8 authentication credentials invalid", None),
    ],
    ids=str,
)
async def test_a_plugin_may_refuse(
    answer: Verdict, reply: str, code_after: int | None, tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
) -> None:  # fmt: skip
    async with greeted(tmp_path, Judge(answer)) as client:
        assert str(await client.command(f"AUTH PLAIN {plain()}")) == reply
        if code_after is None:
            assert await client.reply() is None
        else:
            assert (await client.command("NOOP")).code == code_after


async def test_who_undoes_denials_cannot_log_anybody_in(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Mercy(Plugin):
        @hookimpl
        def hook_deny(self) -> Verdict:
            return OK

    async with greeted(tmp_path, Mercy, Judge(DENY)) as client:
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 535


async def test_a_plugin_that_fails_is_a_failure_for_now(tmp_path: Path) -> None:
    class Broken(Plugin):
        @hookimpl
        def hook_auth(self) -> Verdict:
            raise RuntimeError("down")

    async with greeted(tmp_path, Broken, Judge()) as client:
        assert str(await client.command(f"AUTH PLAIN {plain()}")).startswith("451 4.3.0")
        assert (await client.command("NOOP")).code == 250


async def test_to_act_as_another_needs_a_plugin_that_says_so(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with greeted(tmp_path, Judge()) as client:
        assert (await client.command(f"AUTH PLAIN {plain(authzid='boss')}")).code == 535
        assert (await client.command(f"AUTH PLAIN {plain(authzid=USER)}")).code == 235
    judge = Judge(OK(value="boss"))
    async with greeted(tmp_path, judge) as client:
        assert (await client.command(f"AUTH PLAIN {plain(authzid='boss')}")).code == 235
        await client.command("MAIL FROM:<>")
    assert judge.users == [("boss", "PLAIN", True)]


async def test_a_token_of_nobody_logs_nobody_in(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with greeted(tmp_path, JudgeOfAll()) as client:
        assert (await log_in(client, OAuthBearerClient("", TOKEN))).code == 535


async def test_the_log_has_the_user_and_no_secret(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    (tmp_path / "other").mkdir()
    secret = plain(password="s3cret\x1b[31m")
    async with greeted(tmp_path, Judge()) as client:
        await client.command(f"AUTH PLAIN {secret}")
        await client.command("AUTH PLAIN")
        await client.send(secret.encode() + b"\n")
        assert str(await client.reply()).startswith("500 5.5.2")
    async with greeted(tmp_path / "other", Judge()) as client:
        await client.send(b"AUTH PLAIN " + secret.encode() + b"\n")
        assert str(await client.reply()).startswith("500 5.5.2")
    for log in ((tmp_path / "log").read_text(), (tmp_path / "other" / "log").read_text()):
        assert "s3cret" not in log
        assert secret not in log
        assert "client out of step" in log
    assert "login failed" in (tmp_path / "log").read_text()
    assert USER in (tmp_path / "log").read_text()


async def test_the_decoy_of_scram_is_the_same_after_a_restart(tmp_path: Path) -> None:
    challenges = []
    for _ in range(2):
        async with greeted(tmp_path, JudgeOfAll()) as client:
            reply = await client.command("AUTH SCRAM-SHA-256 biwsbj1ub2JvZHkscj1i")
            challenges.append(base64.b64decode(reply.text).partition(b",")[2])
    assert challenges[0] == challenges[1]
    assert (tmp_path / "scram_decoy.key").stat().st_mode & 0o777 == 0o600


def form(challenge: Reply) -> tuple[int, int]:
    """Iterations and octets of the salt in SCRAM's first message of the server."""
    fields = dict(part.split("=", 1) for part in base64.b64decode(challenge.text).decode().split(","))
    return int(fields["i"]), len(base64.b64decode(fields["s"]))


async def test_the_decoy_of_scram_takes_the_form_of_the_secrets_there_are(tmp_path: Path) -> None:
    nobody = "AUTH SCRAM-SHA-256 biwsbj1ub2JvZHkscj1i"
    async with greeted(tmp_path, JudgeOfAll()) as client:
        assert form(await client.command(nobody)) == (DEFAULT_ITERATIONS, 16)  # nothing is known yet
        await client.command("*")
        first = base64.b64encode(f"n,,n={USER},r=b".encode()).decode()
        real = form(await client.command(f"AUTH SCRAM-SHA-256 {first}"))
        assert real == (4096, 4)
        await client.command("*")
        assert form(await client.command(nobody)) == real
    async with greeted(tmp_path, JudgeOfAll()) as client:  # after a restart, too
        assert form(await client.command(nobody)) == real


@pytest.mark.parametrize(
    "content", [b"", b"4096", b"x 16", b"0 16", b"4096 65", b"4096 0", b"-1 16", b"\xff"]
)
def test_a_form_that_is_damaged_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "scram_decoy.form").write_bytes(content)
    decoy = DecoyKeeper.load(tmp_path).decoy
    assert (decoy.iterations, decoy.salt_octets) == (DEFAULT_ITERATIONS, 16)


async def test_login_over_starttls(tmp_path: Path, authority: trustme.CA) -> None:
    accept, judge = Accept(), JudgeOfAll()
    async with listening(tmp_path, authority, accept, judge) as server, await calling(server) as socket:
        client = Client(socket)
        await client.reply()
        assert offered(await client.command("EHLO client.test")) == []
        await client.command("STARTTLS")
        secure = encrypted(socket, authority)
        client = Client(secure)
        names = offered(await client.command("EHLO client.test"))
        assert names[:2] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        binding = _end_point(secure)
        assert (await log_in(client, ScramPlusClient(USER, PASSWORD, binding))).code == 235
        replies = await client.hand_over("a@b.test", ["b@example.com"], MESSAGE)
        assert replies[-1].code == 250
    assert judge.users == [(USER, "SCRAM-SHA-256-PLUS", True)]


def _end_point(stream: trio.SSLStream[trio.SocketStream]) -> ChannelBinding:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    certificate = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
    return ChannelBinding("tls-server-end-point", certificate.fingerprint(SHA256()))


async def test_starttls_forgets_who_has_logged_in(tmp_path: Path, authority: trustme.CA) -> None:
    judge = Judge()
    clear = {"auth_without_tls": True}
    async with (
        listening(tmp_path, authority, judge, listener=clear) as server,
        await calling(server) as socket,
    ):
        client = Client(socket)
        await client.reply()
        await client.command("EHLO client.test")
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 235
        await client.command("STARTTLS")
        client = Client(encrypted(socket, authority))
        assert (await client.command("AUTH PLAIN")).code == 503
        assert offered(await client.command("EHLO client.test")) == ["PLAIN", "LOGIN"]
        await client.command("MAIL FROM:<>")
    assert judge.users == [("", "", False)]


async def test_smtplib_logs_in_over_starttls_and_submits(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    taken: list[bytes] = []

    class Take(Plugin):
        @hookimpl
        def hook_queue_outbound(self, connection: Connection) -> Verdict:
            assert connection.transaction is not None
            taken.append(b"".join(connection.transaction.content.blocks()))
            return OK

    def submit(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
            client.starttls(context=context)
            client.login(USER, PASSWORD)
            client.sendmail(USER, ["b@elsewhere.test"], MESSAGE)

    role = {"role": "submission"}
    async with listening(tmp_path, authority, Take, Judge(), listener=role) as server:
        await trio.to_thread.run_sync(submit, server.addresses[0].port)
    assert b" with ESMTPSA id " in taken[0]
    assert b"\r\nDate: " in taken[0]
    assert b"\r\nMessage-ID: <" in taken[0]


SUBMISSION = ListenSettings(address="127.0.0.1:0", auth_without_tls=True, role="submission")


async def test_submission_needs_a_login_before_mail(tmp_path: Path) -> None:
    async with greeted(tmp_path, Judge(), listen=SUBMISSION) as client:
        assert str(await client.command("MAIL FROM:<>")) == "530 5.7.0 Authentication required"
        await client.command(f"AUTH PLAIN {plain()}")
        assert (await client.command("MAIL FROM:<>")).code == 250


async def test_submission_without_tls_says_that_starttls_comes_first(
    tmp_path: Path, authority: trustme.CA
) -> None:
    role = {"role": "submission"}
    async with (
        listening(tmp_path, authority, Judge(), listener=role) as server,
        await calling(server) as socket,
    ):
        client = Client(socket)
        await client.reply()
        await client.command("EHLO client.test")
        reply = await client.command("MAIL FROM:<>")
        assert str(reply) == "530 5.7.0 Must issue a STARTTLS command first, then authenticate"
        await client.command("STARTTLS")
        client = Client(encrypted(socket, authority))
        await client.command("EHLO client.test")
        assert str(await client.command("MAIL FROM:<>")) == "530 5.7.0 Authentication required"


async def test_the_summary_of_a_connection_names_who_had_logged_in(tmp_path: Path) -> None:
    async with greeted(tmp_path, Judge()) as client:
        await client.command(f"AUTH PLAIN {plain()}")
        await client.command("QUIT")
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if " connection ending" in line]
    assert f" user={USER} " in line
    async with greeted(tmp_path, Judge()) as client:
        await client.command("QUIT")
    assert " user=" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("host", ["", "mx.test", "MX.test"])
async def test_a_token_for_this_server_logs_in(host: str, tmp_path: Path) -> None:
    async with greeted(tmp_path, JudgeOfAll()) as client:
        assert (await log_in(client, OAuthBearerClient(USER, TOKEN, host, 587))).code == 235


async def test_a_token_for_another_server_is_refused_and_shown_to_no_plugin(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    judge = JudgeOfAll()
    async with greeted(tmp_path, judge) as client:
        mechanism = OAuthBearerClient(USER, TOKEN, "mx.elsewhere.test", 587)
        assert str(await log_in(client, mechanism)) == "535 5.7.8 authentication credentials invalid"
        assert mechanism.error == '{"status":"invalid_token"}'
    assert judge.seen == []


@asynccontextmanager
async def with_client_certificate(
    folder: Path, authority: trustme.CA, judge: Judge, names: list[str], issuer: trustme.CA | None
) -> AsyncIterator[Client]:
    """A client in implicit TLS, with a certificate of that issuer if there is one."""
    leaf = authority.issue_cert("mx.test")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = {
        "certificates": [{"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}],
        "client_certificates": "request",
        "client_ca": str(folder / "ca.pem"),
    }
    listen = [{"address": "127.0.0.1:0", "tls": "implicit", "role": "submission"}]
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if issuer is not None:
        issuer.issue_cert(*names).configure_cert(context)
    async with serving(folder, judge, tls=tls, listen=listen) as server, await calling(server) as socket:
        yield Client(trio.SSLStream(socket, context, server_hostname="mx.test"))


async def test_a_client_certificate_logs_in_by_external(tmp_path: Path, authority: trustme.CA) -> None:
    judge = JudgeOfAll()
    names = [USER, "relay.example.com"]
    async with with_client_certificate(tmp_path, authority, judge, names, authority) as client:
        await client.reply()
        assert offered(await client.command("EHLO client.test"))[0] == "EXTERNAL"
        assert (await log_in(client, ExternalClient())).code == 235
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
    (seen,) = judge.seen
    assert isinstance(seen, ExternalCredentials)
    assert set(seen.peer_names) == set(names)
    assert seen.authcid == seen.peer_names[0]
    assert judge.users == [(seen.authcid, "EXTERNAL", True)]


async def test_without_a_client_certificate_external_is_not_offered(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with with_client_certificate(tmp_path, authority, JudgeOfAll(), [], None) as client:
        await client.reply()
        assert "EXTERNAL" not in offered(await client.command("EHLO client.test"))
        assert (await client.command("AUTH EXTERNAL =")).code == 504


async def test_a_client_certificate_of_a_stranger_ends_the_handshake(
    tmp_path: Path, authority: trustme.CA
) -> None:
    judge = JudgeOfAll()
    async with with_client_certificate(tmp_path, authority, judge, [USER], trustme.CA()) as client:
        assert await client.reply() is None
    assert judge.seen == []


@pytest.mark.parametrize("listen", [SUBMISSION, CLEAR], ids=["submission", "mx"])
async def test_only_submission_completes_a_message_and_only_what_is_missing(
    listen: ListenSettings, tmp_path: Path
) -> None:
    taken: list[bytes] = []

    class Take(Plugin):
        @hookimpl
        def hook_queue_outbound(self, connection: Connection) -> Verdict:
            assert connection.transaction is not None
            taken.append(b"".join(connection.transaction.content.blocks()))
            return OK

    own = b"date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMESSAGE-ID: <a@b>\r\n"
    async with greeted(tmp_path, Take, Judge(), listen=listen) as client:
        await client.command(f"AUTH PLAIN {plain()}")
        for header in (b"", own):
            assert (await client.hand_over("a@b.test", ["c@d.test"], header + MESSAGE))[-1].code == 250
    without, complete = (content.partition(b"\r\n\r\n")[0].lower() for content in taken)
    expected = 1 if listen.role == "submission" else 0
    assert without.count(b"\r\ndate: ") == without.count(b"\r\nmessage-id: <") == expected
    assert complete.count(b"\r\ndate: ") == complete.count(b"\r\nmessage-id: <") == 1
