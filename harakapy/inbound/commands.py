"""The commands: what each one asks of the plugins, and what it changes.

One function a command, all of the same shape; `HANDLERS` maps the protocol's events to them. What is wrong
with a command by itself or by its place in the dialogue has been answered by the protocol already.
"""

from __future__ import annotations

from functools import lru_cache

from harakapy.hooks import CONT, OK, Action, Verdict
from harakapy.inbound.auth import auth, missing_login, offered_mechanisms
from harakapy.inbound.connection import Hello
from harakapy.inbound.conversation import TOO_MANY_MESSAGES, Conversation, Handler
from harakapy.inbound.extensions import lower_priority, offered_lines, refusal
from harakapy.inbound.outcomes import OUTCOMES, Words
from harakapy.inbound.receive import chunk, data
from harakapy.inbound.transaction import Transaction
from harakapy.smtp import (
    NO_RCPT_PARAMETERS,
    Address,
    Auth,
    Bdat,
    Data,
    Ehlo,
    EndOfFile,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Refused,
    Reply,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
)
from harakapy.smtp.xclient import XCLIENT_ATTRIBUTES

READY_FOR_TLS = Reply(220, "Ready to start TLS", "2.0.0")
TLS_IS_ACTIVE = Reply(503, "TLS is active already", "5.5.1")
RESET_DONE = Reply(250, "OK", "2.0.0")
TOO_MANY_RECIPIENTS = Reply(452, "Too many recipients, send the rest in another message", "4.5.3")
NO_ROUTES = Reply(550, "A local part cannot be a route to elsewhere", "5.7.1")
ROUTE_MARKS = frozenset("@%!")
"""What old mail systems take for a route within a local part: user@host@, user%host@, host!user@."""
NOT_TRUSTED = Reply(550, "insufficient authorization", "5.7.0")
NOT_EXPANDED = Reply(502, "Lists are not expanded here", "5.5.1")
NO_SUCH_HOOK = Reply(451, "Temporary failure, try again later", "4.3.0")
_ehlo_reply = lru_cache(maxsize=256)(Reply)  # of a dozen lines, and clients come again
VERBS = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP"


async def helo(conversation: Conversation, command: Helo) -> None:
    """HELO: the client introduces itself the old way."""
    await _introduce(conversation, command)


async def ehlo(conversation: Conversation, command: Ehlo) -> None:
    """EHLO: the client introduces itself and asks for the extensions."""
    await _introduce(conversation, command)


async def _introduce(conversation: Conversation, command: Helo | Ehlo) -> None:
    connection = conversation.connection
    if connection.hello.verb:
        conversation.count_junk()
    await conversation.reset_transaction()
    conversation.mechanisms = ()
    before, connection.hello = connection.hello, Hello(command.verb, command.host)
    hook = "ehlo" if isinstance(command, Ehlo) else "helo"
    ask = conversation.hooks.ehlo if hook == "ehlo" else conversation.hooks.helo
    verdict = await ask(connection, command.host)
    if verdict.is_denial:
        connection.hello = before  # a refused command has not happened (RFC 5321 4.1.4)
        await conversation.settle(hook, verdict)
    elif hook == "helo":
        await conversation.settle(hook, verdict, _hello_words(conversation))
    else:
        greeting = OUTCOMES[hook][verdict.action].filled(_hello_words(conversation))
        conversation.send(_ehlo_reply(250, (greeting, *await _capabilities(conversation))))


def _hello_words(conversation: Conversation) -> Words:
    remote = conversation.connection.remote
    name = remote.host if "." in remote.host else conversation.connection.hello.host
    client = f"{name} [{remote.ip}]" if remote.ip else name
    return Words(hostname=conversation.terms.hostname, client=client)


async def _capabilities(conversation: Conversation) -> list[str]:
    connection = conversation.connection
    connection.capabilities = offered_lines(conversation.terms, connection)
    if conversation.may_speak_for_others:
        connection.capabilities.append(f"XCLIENT {' '.join(XCLIENT_ATTRIBUTES)}")
    conversation.mechanisms = await offered_mechanisms(conversation)
    if conversation.mechanisms:
        connection.capabilities.append(f"AUTH {' '.join(conversation.mechanisms)}")
    added = await conversation.hooks.capabilities(connection)
    return [*connection.capabilities, *(str(line) for line in added)]


async def mail(conversation: Conversation, command: Mail) -> None:
    """MAIL: a transaction begins."""
    connection = conversation.connection
    if (answer := missing_login(conversation)) is not None:
        conversation.count_error()
        conversation.send(answer)
        return
    if 0 < conversation.terms.max_messages <= connection.transaction_count:
        conversation.send_away(TOO_MANY_MESSAGES)
    connection.transaction_count += 1
    uuid = f"{connection.uuid}.{connection.transaction_count}"
    connection.transaction = Transaction(uuid, command.sender, command.params, conversation.service.now())
    if (answer := refusal(command.params, conversation.terms)) is not None:
        conversation.send(answer)
        await conversation.reset_transaction()
        return
    verdict = await conversation.hooks.mail(connection, command.sender, command.params)
    if command.params.mt_priority:
        verdict = lower_priority(connection, verdict)
    await conversation.settle("mail", verdict, Words(address=command.sender.address))


async def rcpt(conversation: Conversation, command: Rcpt) -> None:
    """RCPT: one more recipient, if a plugin says that it is ours or the client may relay."""
    connection, recipient = conversation.connection, command.recipient
    transaction = connection.transaction
    assert transaction is not None, "the protocol lets RCPT pass within a transaction only"
    recipients = transaction.rcpt_to
    if len(recipients) >= conversation.terms.max_recipients:
        conversation.send(TOO_MANY_RECIPIENTS)
        return
    if not (connection.relaying or conversation.terms.has_routed_recipients) and _is_routed(recipient):
        conversation.send(NO_ROUTES)
        transaction.rcpt_refused += 1
        return
    before = len(recipients)
    recipients.append(recipient)
    hook, verdict = "rcpt", await conversation.hooks.rcpt(connection, recipient, command.params)
    if verdict.action is OK.action or (verdict.action is CONT.action and connection.relaying):
        agreed = await conversation.hooks.rcpt_ok(connection, recipient)
        has_said_more = agreed is not CONT and (agreed.is_denial or agreed.text)
        hook, verdict = "rcpt_ok", agreed if has_said_more else _accepted(verdict)
    if await conversation.settle(hook, verdict, Words(address=recipient.address)):
        if command.params is not NO_RCPT_PARAMETERS:
            # For what a plugin has put in the recipient's place, too.
            transaction.rcpt_params.update(dict.fromkeys((recipient, *recipients[before:]), command.params))
    else:
        del recipients[before:]
        transaction.rcpt_refused += 1


def _is_routed(recipient: Address) -> bool:
    return not ROUTE_MARKS.isdisjoint(recipient.user)


def _accepted(verdict: Verdict) -> Verdict:
    return OK if verdict is CONT else verdict


async def rset(conversation: Conversation, command: Rset) -> None:
    """RSET: the transaction is given up."""
    conversation.count_junk()
    await conversation.hooks.rset(conversation.connection)
    await conversation.reset_transaction()
    conversation.send(RESET_DONE)


async def noop(conversation: Conversation, command: Noop) -> None:
    """NOOP: nothing."""
    conversation.count_junk()
    await conversation.settle("noop", await conversation.hooks.noop(conversation.connection))


async def vrfy(conversation: Conversation, command: Vrfy) -> None:
    """VRFY: does the mailbox exist? We do not say, unless a plugin does."""
    conversation.count_junk()
    await conversation.settle(
        "vrfy", await conversation.hooks.vrfy(conversation.connection, command.argument)
    )


async def expn(conversation: Conversation, command: Expn) -> None:
    """EXPN: who is on the list? We do not say."""
    conversation.count_junk()
    conversation.send(NOT_EXPANDED)


async def show_help(conversation: Conversation, command: Help) -> None:
    """HELP: the commands there are, for this client now."""
    conversation.count_junk()
    extra = sorted({"AUTH", "STARTTLS"} & conversation.extensions)
    conversation.send(Reply(214, (" ".join([VERBS, *extra]), "See RFC 5321"), "2.0.0"))


async def leave(conversation: Conversation, command: Quit) -> None:
    """QUIT: the client leaves."""
    verdict = await conversation.hooks.quit(conversation.connection)
    await conversation.settle("quit", verdict, Words(hostname=conversation.terms.hostname))
    conversation.is_closing = conversation.client_has_left = True


async def starttls(conversation: Conversation, command: StartTls) -> None:
    """STARTTLS: the handshake, and a new beginning."""
    await conversation.reset_transaction()
    conversation.send(READY_FOR_TLS)
    await conversation.start_tls()


async def xclient(conversation: Conversation, command: XClient) -> None:
    """XCLIENT: a trusted client speaks for another one, who is greeted anew."""
    if conversation.may_speak_for_others:
        conversation.hand_over(command.claims)
        return
    conversation.count_error()
    conversation.send(NOT_TRUSTED)


async def unrecognized(conversation: Conversation, command: Unrecognized) -> None:
    """A command we do not know: perhaps a plugin does."""
    if command.verb == "STARTTLS" and conversation.connection.tls is not None:
        conversation.count_error()
        conversation.send(TLS_IS_ACTIVE)
        return
    verdict = await conversation.hooks.unrecognized_command(
        conversation.connection, command.verb, command.argument
    )
    if verdict.action is Action.HOOK_NEXT:
        await _run_named_hook(conversation, verdict)
        return
    if verdict.action in (Action.CONT, Action.DENYSOFT):
        conversation.count_error()
    await conversation.settle("unrecognized_command", verdict)


async def _run_named_hook(conversation: Conversation, verdict: Verdict) -> None:
    """Answer as the command does whose hook a plugin has named: ``HOOK_NEXT("noop")``."""
    name = str(verdict.value or verdict.text).removeprefix("hook_")
    substitute = _BY_HOOK.get(name)
    if substitute is None:
        names = ", ".join(_BY_HOOK)
        conversation.connection.log.error("HOOK_NEXT needs one of " + names, hook=name)
        conversation.send(NO_SUCH_HOOK)
        return
    conversation.substitute(substitute)
    await HANDLERS[type(substitute)](conversation, substitute)


async def break_off(conversation: Conversation, event: Refused | EndOfFile) -> None:
    """The protocol has refused a command by itself, or the client has closed its side."""
    await conversation.break_off(event)


_BY_HOOK: dict[str, Noop | Rset | Quit | Vrfy] = {
    "noop": Noop(""),
    "rset": Rset(),
    "quit": Quit(),
    "vrfy": Vrfy(""),
}

HANDLERS: dict[type, Handler] = {
    Helo: helo,
    Ehlo: ehlo,
    Mail: mail,
    Rcpt: rcpt,
    Data: data,
    Bdat: chunk,
    Rset: rset,
    Noop: noop,
    Vrfy: vrfy,
    Expn: expn,
    Help: show_help,
    Quit: leave,
    StartTls: starttls,
    Auth: auth,
    XClient: xclient,
    Unrecognized: unrecognized,
    Refused: break_off,
    EndOfFile: break_off,
}
"""{event: what answers it}."""
