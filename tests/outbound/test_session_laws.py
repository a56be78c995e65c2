"""What holds whatever a host sends: nothing is raised, and every recipient has one answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harakapy.outbound.attempt import Phase
from harakapy.outbound.hop import Protocol
from tests.outbound.hosts import deliver, envelope, session

THREE = ("a@example.org", "b@example.org", "c@example.org")
EXTENSIONS = ["PIPELINING", "CHUNKING", "8BITMIME", "DSN", "SIZE 10", "LIMITS MAILMAX=1", "STARTLS", "X"]
CODES = st.sampled_from([200, 220, 250, 251, 299, 334, 354, 421, 450, 451, 452, 500, 503, 550, 552, 554, 599])
LINES = st.one_of(
    CODES.map(lambda code: b"%d what I say\r\n" % code),
    CODES.map(lambda code: b"%d-more\r\n" % code),
    st.binary(max_size=20),
)


@settings(max_examples=150, deadline=None)
@given(
    offered=st.lists(st.sampled_from(EXTENSIONS), max_size=4),
    sent=st.lists(LINES, max_size=9),
    protocol=st.sampled_from([Protocol.SMTP, Protocol.LMTP]),
    count=st.integers(1, 3),
)
async def test_every_recipient_has_an_answer_whatever_a_host_sends(
    offered: list[str], sent: list[bytes], protocol: Protocol, count: int
) -> None:
    script = "S: 220 hi\nTAKE\n"
    script += "".join(f"S: 250-{extension}\n" for extension in ["hi", *offered]) + "S: 250 HELP\nTAKE\n"
    script += f"SEND {b''.join(sent)!r}\nCLOSE"
    async with session(script, protocol=protocol) as opened:
        answers = await deliver(opened, envelope(*THREE[:count]))
        assert len(answers) == count
        for answer in answers:
            assert answer.phase in Phase
            assert answer.reply is not None or answer.status is not None
            if answer.is_delivered:
                assert b"".join(sent).count(b"2") >= 3  # MAIL, RCPT and the content
