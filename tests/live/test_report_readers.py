"""Programs of others read our reports: what handles bounces must see who failed, and why."""

import email
import importlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harakapy.mail import Content, EnhancedStatus, Recipient
from harakapy.mail.report import Action, Fate, Report, compose
from harakapy.mail.returned import give_back
from harakapy.smtp.address import Address
from tests.live.test_peers import peer, run

pytestmark = pytest.mark.live

WHEN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ORIGINAL = (
    b"From: sender@example.com\r\nTo: user@example.org\r\nSubject: lunch\r\nMessage-ID: <1@example.com>\r\n"
    b"Date: Sun, 22 Nov 2026 09:59:00 +0000\r\n\r\nAt noon?\r\n"
)
UNKNOWN = Fate(
    recipient=Recipient(Address.parse("user@example.org")),
    action=Action.FAILED,
    status=EnhancedStatus(5, 1, 1),
    text="550 5.1.1 <user@example.org>: no such user",
    is_reply=True,
    host="mx.example.org[192.0.2.1]",
    last_attempt=WHEN,
)
FULL = Fate(
    recipient=Recipient(Address.parse("full@example.net")),
    action=Action.FAILED,
    status=EnhancedStatus(5, 2, 2),
    text="552 5.2.2 mailbox full",
    is_reply=True,
    host="mx.example.net[192.0.2.2]",
    last_attempt=WHEN,
)
LATE = Fate(
    recipient=Recipient(Address.parse("late@example.com")),
    action=Action.DELAYED,
    status=EnhancedStatus(4, 4, 1),
    text="connection refused",
    host="mx.example.com[192.0.2.3]",
    last_attempt=WHEN,
    retry_until=WHEN,
)
PASSED_ON = Fate(recipient=Recipient(Address.parse("on@example.com")), action=Action.RELAYED)


def report(*fates: Fate, returns: int = 50_000) -> bytes:
    sender = Address.parse("sender@example.com")
    return compose(
        Report(
            id="R1.1",
            to=sender,
            sender=sender,
            hostname="mail.example.net",
            from_address=Address.parse("MAILER-DAEMON@mail.example.net"),
            when=WHEN,
            fates=fates,
            arrived=WHEN,
            message_id="M1.1",
            returned=give_back(Content.from_bytes(ORIGINAL), max_octets=returns),
        )
    )


@pytest.fixture
def flufl() -> Any:
    try:
        return importlib.import_module("flufl.bounce")
    except ImportError:
        pytest.skip("flufl.bounce is not installed")


def test_flufl_bounce_sees_who_failed_and_who_is_late(flufl: Any) -> None:
    message = email.message_from_bytes(report(UNKNOWN, FULL, LATE, PASSED_ON))
    delayed, failed = flufl.all_failures(message)
    assert failed == {b"user@example.org", b"full@example.net"}
    assert delayed == {b"late@example.com"}
    assert flufl.scan_message(message) == failed


def test_flufl_bounce_takes_good_news_for_no_failure(flufl: Any) -> None:
    assert not flufl.scan_message(email.message_from_bytes(report(PASSED_ON)))


@pytest.fixture
def sisimai(tmp_path: Path) -> Any:
    """What Sisimai makes of a report: a list of its findings."""
    perl = peer("perl")
    if subprocess.run([perl, "-MSisimai", "-e", "1"], capture_output=True, check=False).returncode:
        pytest.skip("Sisimai is not installed (Debian: libsisimai-perl)")
    file = tmp_path / "report.eml"

    def read(octets: bytes) -> list[dict[str, Any]]:
        file.write_bytes(octets)
        program = "print Sisimai->dump($ARGV[0], delivered => 1) // '[]'"
        result = run(perl, "-MSisimai", "-e", program, str(file))
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert isinstance(found, list)
        return found

    return read


@pytest.mark.parametrize("returns", [50_000, 0], ids=["message", "header"])
def test_sisimai_sees_who_failed_and_why(sisimai: Any, returns: int) -> None:
    found = {each["recipient"]: each for each in sisimai(report(UNKNOWN, FULL, LATE, returns=returns))}
    assert {address: each["reason"] for address, each in found.items()} == {
        "user@example.org": "userunknown",
        "full@example.net": "mailboxfull",
        "late@example.com": "expired",  # its word for what is tried again
    }
    unknown = found["user@example.org"]
    assert (unknown["deliverystatus"], unknown["action"], unknown["replycode"]) == ("5.1.1", "failed", "550")
    assert unknown["rhost"] == "mx.example.org"
    assert unknown["addresser"] == "sender@example.com"
    assert unknown["subject"] == "lunch"
    assert unknown["messageid"] == "1@example.com"
    assert found["late@example.com"]["action"] == "delayed"
