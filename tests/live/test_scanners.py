"""Public tools that look for weak TLS and for holes in SMTP, against a server with the defaults."""

import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.served import Served

from .conftest import program, run

pytestmark = pytest.mark.live
Serve = Callable[..., Served]

NOT_OFFERED = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_sslyze_finds_nothing(tls: str, serve: Serve, tmp_path: Path) -> None:
    served, report = serve(f"tls = '{tls}'"), tmp_path / "report.json"
    options = ["--starttls", "smtp"] if tls == "starttls" else []
    run(program("sslyze"), *options, f"--json_out={report}", f"localhost:{served.port}", timeout_s=300)
    [scan] = json.loads(report.read_text())["server_scan_results"]
    found = {name: each["result"] for name, each in scan["scan_result"].items() if each["result"]}
    for version in NOT_OFFERED:
        assert found[f"{version}_cipher_suites"]["accepted_cipher_suites"] == []
    for suite in found["tls_1_2_cipher_suites"]["accepted_cipher_suites"]:
        assert re.fullmatch(r"TLS_ECDHE_.*_(GCM_SHA\d+|POLY1305_SHA256)", suite["cipher_suite"]["name"])
    assert found["tls_1_3_cipher_suites"]["accepted_cipher_suites"]
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert not found["tls_compression"]["supports_compression"]
    assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert "NOT_VULNERABLE" in found["robot"]["robot_result"]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_testssl_finds_no_weak_protocol_or_cipher(tls: str, serve: Serve, tmp_path: Path) -> None:
    path = shutil.which("testssl") or program("testssl.sh")  # Debian's name, and its own
    served, report = serve(f"tls = '{tls}'"), tmp_path / "report.json"
    options = ["--starttls", "smtp"] if tls == "starttls" else []
    scan = ["-p", "-s", "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", str(report)]
    run(path, *scan, *options, f"127.0.0.1:{served.port}", timeout_s=300)
    findings = json.loads(report.read_text())
    bad = [each for each in findings if each["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")]
    assert bad == []
    assert any(each["id"] == "TLS1_3" and "offered" in each["finding"] for each in findings)


SMUGGLING = [
    "lflf", "crcr", "crlf", "lfcr", "lfcrlf", "crlflf", "crcrlf", "crlfcr", "nullbefore", "nullafter",
    "pipelining",
]  # fmt: skip


@pytest.mark.parametrize("variant", SMUGGLING)
def test_smtpsmug_smuggles_nothing(variant: str, serve: Serve) -> None:
    script = program("smtpsmug")
    served = serve("tls = 'off'")
    listed = run(script, "--list-tests").stdout
    assert set(re.findall(r'"(\w+):"', listed)) == set(SMUGGLING), "there are other variants now"
    addresses = ["-f", "alice@client.test", "-t", "bob@example.com", "--port", str(served.port)]
    result = run(script, "-c", variant, *addresses, "127.0.0.1")
    assert "Traceback" not in result.stderr, result.stderr
    if variant == "pipelining":  # DATA behind DATA within one group: not smuggling, and refused
        assert "rejects bad protocol synchronization" in result.stdout or served.mail("maildir", "bob")
    else:
        assert "was accepted (bad!)" not in result.stdout
        assert "Successfully sent a mail" not in result.stdout
        assert "Received timeout" in result.stdout, "it must wait for the true end of data"
        assert served.mail("maildir", "bob") == []


def test_command_injection_tester_injects_nothing(serve: Serve, tmp_path: Path) -> None:
    script = program("command-injection-tester")
    served = serve("tls = 'starttls'")
    result = run(
        script, "--smtp", "-s", str(served.port), "-l", str(tmp_path / "logs"), "127.0.0.1", timeout_s=300
    )
    said = result.stdout + result.stderr
    assert "Sanity test done" in said, said
    assert "Command injection here!" not in said, said


ELSEWHERE = '''
import os
import socket

import aiosmtpd.controller
from aiosmtpd.testing.statuscodes import StatusCode


class Elsewhere:
    """Stands for a server that runs already."""

    def __init__(self, *_, **__):
        self.hostname, self.port = "127.0.0.1", int(os.environ["SMTP_PORT"])
        self.handler = self.smtpd = None

    def start(self):
        pass

    def stop(self):
        pass


SHARE = int(os.environ["SHARE"])  # of a code: 1 for all of it, 100 for its first digit
aiosmtpd.controller.Controller = Elsewhere
socket.setdefaulttimeout(5)  # one test leaves its server within DATA, and its fixture then waits for QUIT
StatusCode.__eq__ = lambda self, other: self[0] // SHARE == other[0] // SHARE
StatusCode.__ne__ = lambda self, other: self[0] // SHARE != other[0] // SHARE
'''
"""A pytest plugin: connect to our port, and compare the codes of replies; their texts are for people."""

DIFFERENCES = {
    "test_ehlo": "the keywords of EHLO are compared as a list: ours are others (RFC 5321 4.1.1.1)",
    "test_help": "214 instead of 250 (RFC 5321 4.1.1.8, 4.2.3)",
    "test_help_": "214 instead of 250 (RFC 5321 4.1.1.8, 4.2.3)",
    "test_help_bad_arg": "214 instead of 501: HELP takes any argument (RFC 5321 4.1.1.8)",
    "test_help_esmtp": "214 instead of 250 (RFC 5321 4.1.1.8, 4.2.3)",
    "test_mail_valid_address": "comments, backslashes and quotes within a word, no domain, or more than 64 "
    "octets in front of it: none of it is a mailbox (RFC 5321 4.1.2, 4.5.3.1.1)",
    "test_rcpt_valid_address": "the same for recipients (RFC 5321 4.1.2, 4.5.3.1.1)",
    "test_mail_invalid_address": "501 instead of 553: it is the syntax that is wrong (RFC 5321 4.2.2)",
    "test_mail_esmtp_invalid_address": "501 instead of 553: it is the syntax that is wrong (RFC 5321 4.2.2)",
    "test_rcpt_invalid_address": "501 instead of 553: it is the syntax that is wrong (RFC 5321 4.2.2)",
    "test_mail_smtp_errsyntax": "known parameters are read after HELO, too (RFC 5321 4.1.1.11)",
    "test_rcpt_smtp_errsyntax": "555 instead of 501 for an unknown parameter (RFC 5321 4.1.1.11)",
    "test_vrfy_not_address": "252 instead of 502: VRFY takes any string (RFC 5321 4.1.1.6, 3.5.3)",
    "test_way_too_long_command": "a line of a million octets ends the connection (RFC 5321 4.5.3.1.4, 3.8)",
}
"""{test of aiosmtpd's TestSMTP: what we answer, and why}; the same list is in docs/hardening.md."""
NO_MAILBOXES = {14, 15, 16, 17, 18, 28, 29, 30, 31, 37, 38, 39, 41, 42}
"""Which of its addresses those are, by number."""
CASES = 162


@pytest.mark.parametrize(("share", "agreeing"), [(1, 111), (100, 131)], ids=["code", "first digit"])
def test_aiosmtpds_own_tests_differ_only_where_the_rfc_is_on_our_side(
    share: int, agreeing: int, serve: Serve, tmp_path: Path
) -> None:
    python = os.environ.get("AIOSMTPD_PYTHON", sys.executable)
    if run(python, "-c", "import aiosmtpd.tests.conftest, pytest_mock").returncode:
        pytest.skip("aiosmtpd, pytest-mock and setuptools<80 are not installed here (or in AIOSMTPD_PYTHON)")
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    before = 'hostname = "mx.test"\nplugins = ["relay", "queue_discard"]\n'
    served = serve("tls = 'off'", before=before, more="[plugin.relay]\nacl = ['127.0.0.1']\n")
    options = ["-c", "/dev/null", "-p", "elsewhere", "-p", "no:cacheprovider", "-q", "--tb=no", "-rfE"]
    result = run(
        python, "-m", "pytest", *options, "--pyargs", "aiosmtpd.tests.test_smtp::TestSMTP", timeout_s=300,
        folder=tmp_path, SMTP_PORT=str(served.port), PYTHONPATH=str(tmp_path), SHARE=str(share),
    )  # fmt: skip
    failed = re.findall(r"^(?:FAILED|ERROR) \S*::(test_\w+)(?:\[(\w+)\])?", result.stdout, re.MULTILINE)
    assert f"{CASES - agreeing} failed, {agreeing} passed" in result.stdout, result.stdout[-3000:]
    assert {name for name, _ in failed} <= set(DIFFERENCES)
    assert share > 1 or {name for name, _ in failed} == set(DIFFERENCES)
    for name, number in failed:
        if name in ("test_mail_valid_address", "test_rcpt_valid_address"):
            assert int(number) in NO_MAILBOXES


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"])
def test_haproxy_tells_where_the_client_is(version: str, serve: Serve, tmp_path: Path) -> None:
    path = program("haproxy")
    served = serve("tls = 'off'\nproxies = ['127.0.0.1/32']")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n"
            f"frontend f\n bind fd@{listening.fileno()}\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{served.port} {version}\n"
        )
        haproxy = subprocess.Popen(
            [path, "-db", "-q", "-f", str(configuration)],
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
        )
        try:
            port = listening.getsockname()[1]
            with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=("127.0.0.3", 0)) as client:
                client.sendmail("a@client.test", ["bob@example.com"], "Subject: x\r\n\r\nbody\r\n")
        finally:
            haproxy.terminate()
            haproxy.communicate()
    assert "remote=127.0.0.3" in served.wait_for_log(r"\] connection ")
    (file,) = served.mail("maildir", "bob")
    assert b"[127.0.0.3]" in file.read_bytes()
