"""One message to one host: from MAIL to the answers behind the content.

Theory of operation. Each recipient gets exactly one answer, and it gets it as soon as it is known: a refused
RCPT at once, all by a refused MAIL, what is left by the answer to DATA or to the content. So if the session
fails on the way, the failure is the answer for those who have none yet, and no others.

Where the host has PIPELINING, sender, recipients and DATA leave in one write (RFC 2920), and with CHUNKING
small content does too (RFC 3030 4.2). Recipients go in groups of GROUP, so that neither side waits for the
other to read. Where it has not, each command waits for the reply to the last.

What is lost once all content is out, is lost behind the dot: the host may have taken the message
(RFC 5321 4.5.3.2.6), although some earlier reply is missing too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.rendition import Rendition
from harakapy.outbound.wire import Wire
from harakapy.smtp import Data, Mail, Rcpt, Reply, Rset

__all__ = ["GROUP", "Transaction"]

GROUP: Final = 100
"""Recipients in one write: their replies, some 5 KiB, fit into any socket's buffer while we still write."""

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_AT_MAIL, _AT_RCPT, _AT_DATA, _AT_CONTENT, _AT_DOT = (
    Phase.MAIL,
    Phase.RCPT,
    Phase.DATA,
    Phase.CONTENT,
    Phase.DOT,
)

_OUT_OF_STEP: Final = EnhancedStatus(4, 5, 1)
_DATA: Final = Data()
_RSET: Final = Rset()


class Transaction:
    """The dialogue about one message; run it once, then read ``answers``, in the order of the recipients.

    An answer is None only after `run` has raised; `fail` then gives the one that concerns the session.
    """

    __slots__ = ("_accepted", "_is_refused", "_mail", "_rcpts", "_rendition", "_wire", "answers")

    def __init__(self, wire: Wire, mail: Mail, rcpts: Sequence[Rcpt], rendition: Rendition) -> None:
        self.answers: list[Answer | None] = [None] * len(rcpts)
        self._wire = wire
        self._mail = mail
        self._rcpts = rcpts
        self._rendition = rendition
        self._is_refused = False  # by the answer to MAIL
        self._accepted: list[int] = []  # the recipients for whom the content counts

    def fail(self, answer: Answer) -> None:
        """Give this answer to all recipients that have none."""
        self.answers = [answer if given is None else given for given in self.answers]

    def complete(self) -> list[Answer]:
        """All answers; to be called when every recipient has one."""
        answers = [answer for answer in self.answers if answer is not None]
        assert len(answers) == len(self.answers)
        return answers

    async def run(self) -> None:
        """Hold the dialogue, before the deadlines of the wire.

        Raises HostFailed if the session is of no use any more; OSError if the content cannot be read, in the
        middle of which the session then stands.
        """
        wire = self._wire
        wire.phase = _AT_MAIL
        must_reset, wire.must_reset = wire.must_reset, True  # until the content was answered
        if wire.protocol.capabilities.pipelining:
            await self._run_in_groups(must_reset=must_reset)
        else:
            await self._run_step_by_step(must_reset=must_reset)

    async def _run_step_by_step(self, *, must_reset: bool) -> None:
        wire = self._wire
        if must_reset:
            self._take_reset(await wire.command(_RSET, _AT_MAIL))
        self._take_mail(await wire.command(self._mail, _AT_MAIL))
        if self._is_refused:
            return
        for index, rcpt in enumerate(self._rcpts):
            self._take_rcpt(index, await wire.command(rcpt, _AT_RCPT))
        if not self._accepted:
            return
        if self._rendition.in_chunks:
            await self._send_chunks()
        else:
            await self._take_data(await wire.command(_DATA, _AT_DATA, wire.timeouts.data_s))

    async def _run_in_groups(self, *, must_reset: bool) -> None:
        wire, rcpts = self._wire, self._rcpts
        if must_reset:
            wire.protocol.send(_RSET)
        wire.protocol.send(self._mail)
        for start in range(0, len(rcpts), GROUP):
            group = rcpts[start : start + GROUP]
            for rcpt in group:
                wire.protocol.send(rcpt)
            is_last = start + GROUP >= len(rcpts)
            await self._flush_group(is_last=is_last)
            if start == 0:
                if must_reset:
                    self._take_reset(await wire.reply(_AT_MAIL))
                self._take_mail(await wire.reply(_AT_MAIL))
            for index in range(start, start + len(group)):
                self._take_rcpt(index, await wire.reply(_AT_RCPT))
            if self._is_refused and not is_last:
                return
        if not self._rendition.in_chunks:
            wire.phase = _AT_DATA
            await self._take_data(await wire.reply(_AT_DATA, wire.timeouts.data_s))
        elif self._rendition.octets is not None:
            await self._take_content_replies()
        elif self._accepted:
            await self._send_chunks()

    async def _flush_group(self, *, is_last: bool) -> None:
        """Send a group; behind the last recipient also what need not wait for the replies."""
        wire, rendition = self._wire, self._rendition
        if is_last and not rendition.in_chunks:
            wire.protocol.send(_DATA)
        if is_last and rendition.in_chunks and rendition.octets is not None:
            wire.protocol.send_chunk(rendition.octets, is_last=True)
            await wire.flush_end_of_content()
        else:
            await wire.flush(wire.timeouts.block_s)

    def _take_reset(self, reply: Reply) -> None:
        if not reply.is_positive:  # which says nothing about this message
            raise self._wire.failure(f"the host refused RSET: {reply}", _OUT_OF_STEP)

    def _take_mail(self, reply: Reply) -> None:
        if self._wire.phase is _AT_MAIL:
            self._wire.phase = _AT_RCPT
        if not reply.is_positive:
            self._is_refused = True
            self.fail(Answer(_AT_MAIL, reply, host=self._wire.host))

    def _take_rcpt(self, index: int, reply: Reply) -> None:
        if self._is_refused:
            return
        if reply.is_positive:
            self._accepted.append(index)
        else:
            self.answers[index] = Answer(_AT_RCPT, reply, host=self._wire.host)

    async def _take_data(self, reply: Reply) -> None:
        wire = self._wire
        if not reply.is_intermediate:
            self.fail(Answer(_AT_DATA, reply, host=wire.host))
        elif self._accepted:
            await self._send_content()
        else:  # RFC 2920 3.1: an empty message to nobody ends what a 354 without recipients began
            wire.protocol.end_content()
            await wire.flush(wire.timeouts.block_s)
            await wire.reply(_AT_DOT, wire.timeouts.dot_s)
            wire.must_reset = False

    async def _send_content(self) -> None:
        wire, protocol, rendition = self._wire, self._wire.protocol, self._rendition
        wire.phase = _AT_CONTENT
        if rendition.octets is not None:
            protocol.send_content(rendition.octets)
        else:
            while block := await rendition.next_block():
                protocol.send_content(block)
                await wire.flush(wire.timeouts.block_s)
                if wire.is_sending_broken:
                    break
        if not wire.is_sending_broken:
            protocol.end_content()
            await wire.flush_end_of_content()
        await self._take_content_replies()

    async def _send_chunks(self) -> None:
        """Send content in chunks; with PIPELINING each leaves before the answer to the last is awaited."""
        wire, rendition = self._wire, self._rendition
        wire.phase = _AT_CONTENT
        most_unanswered = 1 if wire.protocol.capabilities.pipelining else 0
        following = await rendition.next_block() if rendition.octets is None else rendition.octets
        unanswered = 0
        while not wire.is_sending_broken:
            block = following
            following = await rendition.next_block()
            wire.protocol.send_chunk(block, is_last=not following)
            if not following:
                await wire.flush_end_of_content()
                break
            await wire.flush(wire.timeouts.block_s)
            unanswered += 1
            if unanswered > most_unanswered:
                unanswered -= 1
                if not await self._take_chunk_reply(unanswered):
                    return
        while unanswered:
            unanswered -= 1
            if not await self._take_chunk_reply(unanswered + 1):
                return
        await self._take_content_replies()

    async def _take_chunk_reply(self, further: int) -> bool:
        """Take the reply to a chunk, whether to go on; if not, also the ``further`` that are owed."""
        reply = await self._wire.reply(_AT_CONTENT)
        if reply.is_positive:
            return True
        self.fail(Answer(_AT_DOT, reply, host=self._wire.host))
        for _ in range(further):
            await self._wire.reply(_AT_CONTENT)
        return False

    async def _take_content_replies(self) -> None:
        """Take the answer to the content: one for all, or in LMTP one for each accepted recipient."""
        wire = self._wire
        is_dsn_passed_on = wire.protocol.capabilities.dsn
        for _ in self._accepted or (None,):
            replied = await wire.replied(_AT_DOT, wire.timeouts.dot_s)
            answer = Answer(
                _AT_DOT,
                replied.reply,
                host=wire.host,
                is_dsn_passed_on=is_dsn_passed_on,
                is_time_passed_on=self._mail.params.by is not None,
            )
            if replied.recipient is None:  # for all
                self.fail(answer)
                break
            self.answers[replied.recipient] = answer
        wire.must_reset = not self._accepted  # chunks for nobody leave the transaction open
