"""Programs that people send mail with log in and send, over STARTTLS and over TLS from the first octet."""

import smtplib
import ssl
from pathlib import Path

import pytest

from .conftest import PASSWORD, USER, Submission, program, run

pytestmark = pytest.mark.live
BODY = "Subject: live\n\n.dot\nbody\n"


def arrived(submission: Submission) -> None:
    """The message is there, and says how it came."""
    message = submission.message()
    assert b"with ESMTPSA" in message
    assert b"\r\n.dot\r\nbody\r\n" in message
    assert f"user={USER}" in submission.served.wait_for_log(r"\] login")


def test_smtplib(submission: Submission) -> None:
    context = ssl.create_default_context(cafile=str(submission.authority))
    if submission.is_implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", submission.port, context=context)
    else:
        client = smtplib.SMTP("localhost", submission.port)
        client.starttls(context=context)
    with client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
        client.login(USER, PASSWORD)
        client.sendmail(USER, ["bob@example.com"], BODY)
    assert "with ESMTPSA" in submission.message().decode()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(submission: Submission, mechanism: str) -> None:
    if "not available" in run(program("swaks"), "--support").stdout.partition("TLS")[2].partition("\n")[0]:
        pytest.skip("swaks lacks Perl's Net::SSLeay")
    tls = "--tls-on-connect" if submission.is_implicit else "--tls"
    login = ["--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD]
    server = ["--server", f"localhost:{submission.port}", "--from", USER, "--to", "bob@example.com"]
    result = run(program("swaks"), *server, tls, *login, "--data", BODY.replace("\n", "\\n"))
    assert result.returncode == 0, result.stdout
    arrived(submission)


def test_curl(submission: Submission, tmp_path: Path) -> None:
    letter = tmp_path / "letter.eml"
    letter.write_bytes(BODY.replace("\n", "\r\n").encode())
    scheme = "smtps" if submission.is_implicit else "smtp"
    result = run(
        program("curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", str(submission.authority),
        "--user", f"{USER}:{PASSWORD}", "--mail-from", USER, "--mail-rcpt", "bob@example.com",
        "--upload-file", str(letter), f"{scheme}://localhost:{submission.port}/client.test",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    arrived(submission)


def test_msmtp(submission: Submission, tmp_path: Path) -> None:
    letter = f"cat {tmp_path / 'letter.eml'}"
    (tmp_path / "letter.eml").write_text(BODY)
    options = [
        "--host=localhost", f"--port={submission.port}", "--auth=plain", f"--user={USER}", "--tls=on",
        f"--passwordeval=printf %s '{PASSWORD}'", f"--tls-trust-file={submission.authority}",
        f"--tls-starttls={'off' if submission.is_implicit else 'on'}", f"--from={USER}",
    ]  # fmt: skip
    command = " ".join(f'"{option}"' for option in [program("msmtp"), *options])
    result = run("sh", "-c", f"{letter} | {command} bob@example.com")
    assert result.returncode == 0, result.stderr
    arrived(submission)


SCRIPT = """
const nodemailer = require("nodemailer");
const [port, secure, ca, user, pass] = process.argv.slice(1);
const transport = nodemailer.createTransport({host: "localhost", port: +port, secure: secure === "true",
    requireTLS: true, tls: {ca: require("fs").readFileSync(ca)}, auth: {user, pass}});
transport.sendMail({from: user, to: "bob@example.com", subject: "live", text: ".dot\\nbody\\n"})
    .catch(error => { console.error(error); process.exitCode = 1; });
"""


def test_nodemailer(submission: Submission) -> None:
    node = program("node")
    if run(node, "-e", "require('nodemailer')").returncode:
        pytest.skip("node does not find nodemailer (npm install nodemailer; NODE_PATH)")
    secure = str(submission.is_implicit).lower()
    result = run(node, "-e", SCRIPT, str(submission.port), secure, str(submission.authority), USER, PASSWORD)
    assert result.returncode == 0, result.stderr
    arrived(submission)
