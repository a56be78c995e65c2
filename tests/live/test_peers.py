"""Real clients against a real server: those that are installed, and smtplib, which always is."""

import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from tests.process.test_serve import MAILDIR
from tests.served import PATIENCE_S, Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, MAILDIR) as served:
        yield served


def peer(program: str) -> str:
    """The path of a program; the test is skipped without it."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_smtplib_sends_a_message_with_an_attachment(served: Served) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@client.test", "user@example.com", "Grüße"
    message.set_content("Hällo\n.\n..\n")
    message.add_attachment(bytes(range(256)) * 1000, maintype="application", subtype="octet-stream")
    message.set_boundary("=-boundary")  # else each rendering has another
    with served.client() as client:
        assert client.send_message(message) == {}
    (file,) = served.mail("maildir", "user")
    sent = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    assert file.read_bytes().endswith(sent)


def test_smtplib_is_told_of_each_recipient_that_was_refused(served: Served) -> None:
    with served.client() as client:
        refused = client.sendmail("a@client.test", ["user@example.com", "b@example.org"], "x\r\n")
        assert list(refused) == ["b@example.org"]
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@client.test", ["b@example.org"], "x\r\n")
    assert len(served.mail("maildir", "user")) == 1


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["starttls", "implicit"])
def secure(request: pytest.FixtureRequest, tmp_path: Path, authority: trustme.CA) -> Iterator[Served]:
    """A server with a certificate, whose TLS begins as the parameter says."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    tls = "[[tls.certificates]]\ncertificate = 'server.crt'\nkey = 'server.key'\n"
    listen = f"[[listen]]\naddress = '127.0.0.1:0'\ntls = '{request.param}'\n"
    with serving(tmp_path, MAILDIR + listen + tls, listens=False) as served:
        yield served


def test_smtplib_speaks_tls(secure: Served, authority: trustme.CA, request: pytest.FixtureRequest) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if "implicit" in request.node.name:
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", secure.port, context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", secure.port)
        client.starttls(context=context)
    with client:
        client.sendmail("a@client.test", ["user@example.com"], "Subject: secret\r\n\r\nbody\r\n")
    (file,) = secure.mail("maildir", "user")
    assert b"with ESMTPS" in file.read_bytes()
    assert "tls=TLSv1.3" in secure.wait_for_log(r"\] connection ")


@pytest.mark.live
def test_swaks_speaks_tls(secure: Served, request: pytest.FixtureRequest) -> None:
    if "not available" in run(peer("swaks"), "--support").stdout.partition("TLS")[2].partition("\n")[0]:
        pytest.skip("swaks lacks Perl's Net::SSLeay")
    option = "--tls-on-connect" if "implicit" in request.node.name else "--tls"
    result = run(peer("swaks"), "--server", f"127.0.0.1:{secure.port}", "--to", "user@example.com", option)
    assert result.returncode == 0, result.stdout
    assert len(secure.mail("maildir", "user")) == 1


@pytest.mark.live
def test_swaks_hands_over_a_message_as_it_is(served: Served, tmp_path: Path) -> None:
    data = tmp_path / "message.eml"
    data.write_bytes(b"Subject: by swaks\n\n.dot\n..\nend\n")
    server = ["--server", f"127.0.0.1:{served.port}", "--to", "user@example.com", "--from", "a@client.test"]
    result = run(peer("swaks"), *server, "--data", f"@{data}", "--suppress-data")
    assert result.returncode == 0, result.stdout
    assert re.search(r"<-  250 2\.0\.0 Message Queued \([0-9A-F-]{36}\.1\)", result.stdout)
    (file,) = served.mail("maildir", "user")
    assert b"\r\nSubject: by swaks\r\n\r\n.dot\r\n..\r\nend\r\n" in file.read_bytes()


@pytest.mark.live
def test_swaks_pipelines(served: Served) -> None:
    server = ["--server", f"127.0.0.1:{served.port}", "--to", "user@example.com,two@example.com"]
    result = run(peer("swaks"), *server, "--pipeline")
    assert result.returncode == 0, result.stdout
    assert served.mail("maildir", "user")
    assert served.mail("maildir", "two")


@pytest.mark.live
def test_swaks_is_refused_a_foreign_recipient(served: Served) -> None:
    result = run(peer("swaks"), "--server", f"127.0.0.1:{served.port}", "--to", "user@example.org")
    assert result.returncode == 24  # swaks's status for "no recipient was accepted"
    assert "550 5.7.1 I cannot deliver mail for <user@example.org>" in result.stdout


@pytest.mark.live
@pytest.mark.parametrize("keep", [[], ["-d"]], ids=["a connection each", "kept connections"])
def test_smtp_source_loses_nothing(served: Served, keep: list[str]) -> None:
    load = [*keep, "-s", "20", "-m", "200", "-l", "4096", "-f", "a@client.test", "-t", "user@example.com"]
    result = run(peer("smtp-source"), *load, f"inet:127.0.0.1:{served.port}")
    assert result.returncode == 0, result.stderr
    assert len(served.mail("maildir", "user")) == 200
