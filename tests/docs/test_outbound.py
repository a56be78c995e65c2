"""The page about mail that leaves says what the code does: replies, reports, log, settings, commands."""

import json
import os
import re
from email import message_from_bytes
from pathlib import Path

import pytest
import trio

from harakapy import DENY, DENYSOFT, Server, Settings, Verdict
from harakapy.cli.configuration import load_settings
from harakapy.cli.queue import command as queue
from harakapy.config.schema import leaves
from harakapy.log import Level, open_logger
from harakapy.mail.report_text import PLACEHOLDERS, ReportText
from harakapy.mail.status import NO_ANSWER, EnhancedStatus
from harakapy.net import SocketAddress
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.concurrency import Feedback
from harakapy.outbound.failure import RULES, Action, judge, rule_for
from harakapy.queue import State
from harakapy.queue.memory_store import MemoryStore
from harakapy.smtp import Address, Reply
from harakapy.testing import FakeDns, connect
from tests.docs.pages import ROOT, blocks_of
from tests.outbound.scene import Mailbox, is_worked_off, receiving

SEND = ROOT / "harakapy/cli/send/command.py"
PAGE = (ROOT / "docs/outbound.md").read_text(encoding="utf-8")

PHASES = {
    "DNS": [Phase.LOOKUP],
    "connect": [Phase.CONNECT],
    "TLS": [Phase.TLS],
    "greeting": [Phase.GREETING],
    "EHLO": [Phase.HELLO],
    "AUTH": [Phase.AUTH],
    "MAIL": [Phase.MAIL],
    "RCPT": [Phase.RCPT],
    "DATA": [Phase.DATA],
    "content": [Phase.CONTENT],
    "end of content": [Phase.DOT],
    "any": [Phase.GREETING, Phase.RCPT, Phase.DOT],
}
WITHOUT_REPLY: dict[str, list[EnhancedStatus | None]] = {
    "nothing, the connection is lost": [EnhancedStatus(4, 4, 2), NO_ANSWER, None],
    "nothing, or a failure of the name servers": [EnhancedStatus(4, 4, 3), None],
    "there is no such domain, or it takes no mail": [EnhancedStatus(5, 1, 2), EnhancedStatus(5, 1, 10)],
    "it cannot take this message: no REQUIRETLS, no SMTPUTF8, no 8-bit content that could be converted": [
        EnhancedStatus(5, 7, 30),
        EnhancedStatus(5, 6, 7),
        EnhancedStatus(5, 6, 3),
    ],
    "it has no TLS that a message with REQUIRETLS may go over": [EnhancedStatus(5, 7, 10)],
    "it has announced that it takes no message of this size": [EnhancedStatus(5, 3, 4)],
}
LOOPBACK = SocketAddress("127.0.0.1", 40000)
ACTIONS = {
    "delivered": Action.DELIVERED,
    "next host": Action.NEXT_HOST,
    "later": Action.DEFER,
    "fails": Action.FAIL,
}
FEEDBACKS = {
    "is well": Feedback.HEALTHY,
    "is busy": Feedback.BUSY,
    "is dead": Feedback.DEAD,
    "": Feedback.NOTHING,
}
STATUSES = {"4.3.x": "4.3.2", "4.4.x": "4.4.5", "4.1.x": "4.1.8", "4.2.x": "4.2.2", "4.6.x": "4.6.0"}


def table(head: str) -> list[list[str]]:
    """The cells of the table under this first line."""
    rows = PAGE.partition(f"\n{head}")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


REPLIES = table("| While |")


def answers(phases: str, said: str) -> list[Answer]:
    """Answers that a line of the table is about."""
    places = [phase for name in phases.split(", ") for phase in PHASES[name]]
    if said in WITHOUT_REPLY:
        return [Answer(phase, None, "no", status) for phase in places for status in WITHOUT_REPLY[said]]
    codes = [code.replace("xx", "50" if code != "3xx" else "54") for code in re.findall(r"`(\w+)`", said)]
    assert codes
    statuses = [STATUSES.get(each, each.replace("x", "1")) for each in re.findall(r"\b4\.[\dx.]+\w", said)]
    return [
        Answer(phase, Reply.parse_text(int(code), f"{status} no" if status else "no"))
        for phase in places
        for code in codes
        for status in statuses or [""]
    ]


@pytest.mark.parametrize(("phases", "said", "next_", "last", "feedback"), REPLIES)
def test_what_follows_from_a_reply_is_what_the_page_says(
    phases: str, said: str, next_: str, last: str, feedback: str
) -> None:
    for answer in answers(phases, said):
        ours = judge(answer, has_more_hosts=True), judge(answer, has_more_hosts=False)
        assert [each.action for each in ours] == [ACTIONS[next_], ACTIONS[last]], answer
        assert rule_for(answer).feedback is FEEDBACKS[feedback], answer


def test_the_page_has_every_rule_in_their_order() -> None:
    found = [{RULES.index(rule_for(each)) for each in answers(row[0], row[1])} for row in REPLIES]
    assert set().union(*found) == set(range(len(RULES)))
    firsts = [min(each) for each in found]
    assert firsts == sorted(firsts)


def test_every_placeholder_of_reports_is_on_the_page() -> None:
    assert table("| Placeholder |") == [[f"`${name}`", text] for name, text in PLACEHOLDERS.items()]


def test_the_template_of_the_page_is_one() -> None:
    (block,) = [block for block in blocks_of(ROOT / "docs/outbound.md") if block.title == "report.txt"]
    template = ReportText.parse(block.text)
    assert {*template.subject.get_identifiers(), *template.body.get_identifiers()} <= PLACEHOLDERS.keys()


def test_settings_that_the_page_names_exist() -> None:
    known = {".".join(part for part in place if isinstance(part, str)) for place, _ in leaves(Settings)}
    named = set(re.findall(r"`((?:outbound|queue|smtp)(?:\.[a-z_]+)+)`", PAGE))
    assert len(named) > 12
    assert {name for name in named if not name.endswith(".py")} <= known


def test_every_state_that_can_be_selected_is_on_the_page() -> None:
    (row,) = [row for row in table("| Option |") if "--state" in row[0]]
    assert re.findall(r"`(\w+)`", row[1]) == [state.value for state in State]


def test_every_command_for_the_queue_is_on_the_page() -> None:
    named = [re.findall(r"`harakapy queue (\w+)", row[0]) for row in table("| Command |")]
    assert sorted(named) == sorted([name] for name in queue.commands)


def test_every_exit_status_of_send_is_on_the_page() -> None:
    ours = {name: getattr(os, name) for name in re.findall(r"\bEX_[A-Z]+", SEND.read_text("utf-8"))}
    assert {row[0] for row in table("| Exit status |")} == {"0", *map(str, ours.values())}


async def test_every_field_of_the_lines_about_deliveries_is_on_the_page(tmp_path: Path) -> None:
    fields: dict[str, set[str]] = {}

    def refuse(recipient: Address | None) -> Verdict | None:
        return {"gone": DENY, "later": DENYSOFT}.get(recipient.user if recipient else "")

    log = open_logger(Level.INFO, format_name="json", file=tmp_path / "log")
    async with receiving(tmp_path, Mailbox(refuse)) as hop:
        settings = Settings.default(
            state_dir=str(tmp_path),
            listen=[],
            outbound={"relay_host": hop, "retry": "1s", "reports": {"collect": "0.1s"}},
        )
        async with Server(settings, store=MemoryStore(), log=log).running() as server:
            for sender in ("me@example.org", ""):
                await server.outbound.send(sender, ["you@example.com", "gone@example.com"], "a\n")
            await is_worked_off(server)
            await server.outbound.send("me@example.org", "later@example.com", "a\n")
            while '"deferred"' not in (tmp_path / "log").read_text("utf-8"):  # noqa: ASYNC110
                await trio.sleep(0.01)
    log.output.sink.close()
    for line in (tmp_path / "log").read_text("utf-8").splitlines():
        record = json.loads(line)
        fields.setdefault(record["event"], set()).update(record)
    events = {row[0].strip("`") for row in table("| Line |")}
    documented = {row[0].strip("`") for row in table("| Field |")}
    assert {"delivered", "deferred", "failed", "report sent"} <= fields.keys() & events
    found = set().union(*(fields[event] for event in ("delivered", "deferred", "failed", "report sent")))
    assert found - {"time", "level", "event", "uuid"} == documented


@pytest.mark.parametrize("by_mx", [False, True], ids=["by the relay host", "by MX"])
async def test_the_relay_of_the_readme_delivers(tmp_path: Path, by_mx: bool) -> None:
    (block,) = [block for block in blocks_of(ROOT / "README.md") if block.title == "relay.toml"]
    text = re.sub(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', block.text)
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop:
        dns = FakeDns().add("example.org", "MX", "10 mx.example.org").add("mx.example.org", "A", "127.0.0.1")
        written = re.compile(r'^relay_host = ".*"', re.MULTILINE)
        text, count = written.subn("" if by_mx else f'relay_host = "{hop}"', text)
        assert count == 1
        (tmp_path / "relay.toml").write_text(text, encoding="utf-8")
        async with dns.running():
            server = Server(
                load_settings(tmp_path / "relay.toml"),
                resolver=dns.resolver(),
                store=MemoryStore(),
                mx_port=int(hop.rpartition(":")[2]),
            )
            async with server.running(), connect(server, remote=LOOPBACK) as client:
                await client.reply()
                await client.command("EHLO client.example.com")
                sent = await client.hand_over("me@example.com", ["you@example.org"], b"Subject: hi\r\n\r\n")
                assert sent[-1].code == 250
                (mail,) = await mailbox.wait_for(1)
    assert mail.recipients == ["you@example.org"]
    assert message_from_bytes(mail.content)["Subject"] == "hi"
