"""Real clients against a real server: those that are installed, and smtplib, which always is."""

import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

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
