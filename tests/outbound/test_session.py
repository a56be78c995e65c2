"""Messages over a session: what is sent, and whose answer is whose."""

from __future__ import annotations

from harakapy.outbound.attempt import Phase
from tests.outbound.hosts import CHUNKS, GROUPS, PLAIN, deliver, envelope, session


async def test_a_message_goes_step_by_step_where_the_host_has_no_extensions() -> None:
    script = (
        PLAIN
        + """
        C: MAIL FROM:<me@example.com>
        S: 250 ok
        C: RCPT TO:<you@example.org>
        S: 250 ok
        C: DATA
        S: 354 go
        C: Subject: hello
        C:
        C: body
        C: .
        S: 250 2.0.0 taken
    """
    )
    async with session(script) as opened:
        (answer,) = await deliver(opened)
        assert answer.is_delivered
        assert answer.phase is Phase.DOT
        assert str(answer.reply) == "250 2.0.0 taken"
        assert opened.is_usable
        assert opened.messages_sent == 1
