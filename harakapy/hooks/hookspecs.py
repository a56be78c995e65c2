"""The hooks: every point at which a plugin may have a say. This file is the manual.

It is long because it is the one place where a plugin author reads, and the hook reference in the
documentation is generated from it. Every docstring has the same parts: when the hook fires; its arguments;
what each accepted verdict does, with the reply; its kind; what is not known yet at that point; the source;
and Haraka's counterpart with any difference. Tests check that the parts are there and that the replies are
those of the table in `harakapy.inbound.outcomes`.

An implementation takes those of the arguments that it needs, by name. It may be a plain or an async
function. ``None`` and CONT always mean "not mine". A denial (DENY, DENYSOFT and their DISCONNECT forms) is
shown to ``hook_deny`` before it takes effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harakapy.hooks.spec import Kind, OnFault, hookspec
from harakapy.hooks.verdict import Action, Verdict
from harakapy.smtp.scram_secret import ScramSecret

if TYPE_CHECKING:
    from harakapy.inbound.connection import Connection
    from harakapy.log import LogRecord
    from harakapy.outbound.hmail import Bounce, Deferral, Handover, HMail
    from harakapy.process.server import Server
    from harakapy.smtp import Address, MailParameters, RcptParameters, Reply
    from harakapy.smtp.sasl import Credentials

DECIDE, FIND, AMEND, OBSERVE = Kind.DECIDE, Kind.FIND, Kind.AMEND, Kind.OBSERVE
OK, DELAY, HOOK_NEXT, DISCONNECT = Action.OK, Action.DELAY, Action.HOOK_NEXT, Action.DISCONNECT
DENIALS = (Action.DENY, Action.DENYSOFT, Action.DENYDISCONNECT, Action.DENYSOFTDISCONNECT)


# The life of a server.


@hookspec(DECIDE, OK, Action.DENY, on_fault=OnFault.STOP)
def hook_init_master(server: Server) -> Verdict | None:
    """The server is about to start, and its sockets are bound but not yet listened to.

    Fires: once, before the first connection can be accepted. With several workers it fires in the process
        that starts them, in an event loop that ends with the hook: tasks, connections and the resolver belong
        in hook_init_child. Of what is put into server.notes or into the plugin, each worker has a copy.
    Arguments:
        server: settings, notes, resolver, log.
    Answers:
        OK: go on, and call no further plugin of this hook.
        CONT: go on.
        DENY: do not start; the text is the error that the operator reads.
    Kind: decide. A fault stops the start.
    Not known yet: any connection.
    Source: Haraka's hook list.
    Haraka: init_master. There, listeners accept before this hook has run; here they do not.
    """


@hookspec(DECIDE, OK, Action.DENY, on_fault=OnFault.STOP)
def hook_init_child(server: Server) -> Verdict | None:
    """A worker is about to accept connections, or to deliver.

    Fires: once in each worker process of several (`workers` above 1), also in one that takes the place of one
        that died. With one process it does not fire; hook_init_master does.
    Arguments:
        server: settings, notes, resolver, log of this worker; server.part says which one it is.
    Answers:
        OK: go on, and call no further plugin of this hook.
        CONT: go on.
        DENY: this worker does not start; the text is the error that the operator reads. When the server
            starts, it does not start either; later the worker is tried again, less and less often.
    Kind: decide. A fault stops the start of the worker.
    Not known yet: any connection.
    Source: Haraka's hook list.
    Haraka: init_child. There, each worker loads the plugins by itself; here it is a copy of the process that
        has loaded them.
    """


@hookspec(OBSERVE)
def hook_init_http(server: Server) -> None:
    """The web server is there and may be given routes.

    Fires: once, when a web server runs; this version has none, so nothing calls it yet.
    Arguments:
        server: settings, notes, log.
    Answers: none; all are called.
    Kind: observe.
    Not known yet: any request.
    Source: Haraka's hook list.
    Haraka: init_http.
    """


@hookspec(OBSERVE)
def hook_init_wss(server: Server) -> None:
    """The web server speaks WebSocket and may be given handlers.

    Fires: once, after hook_init_http, when a web server runs; this version has none, so nothing calls it yet.
    Arguments:
        server: settings, notes, log.
    Answers: none; all are called.
    Kind: observe.
    Not known yet: any request.
    Source: Haraka's hook list.
    Haraka: init_wss.
    """


@hookspec(OBSERVE)
def hook_shutdown(server: Server) -> None:
    """The server has stopped accepting, and its connections have ended.

    Fires: once, at an orderly stop, before the log is flushed. Close files and sessions of your own here.
    Arguments:
        server: settings, notes, log.
    Answers: none; all are called, each under its hook timeout.
    Kind: observe.
    Not known yet: nothing.
    Source: Haraka's plugin API.
    Haraka: the exported function shutdown of a plugin.
    """


@hookspec(DECIDE, OK, on_fault=OnFault.ABSENT, is_sync=True)
def hook_log(record: LogRecord) -> Verdict | None:
    """A line is about to be written to the log.

    Fires: for every record at or above the configured level, in the middle of whatever logs: be quick.
    Arguments:
        record: level, event, fields, time, uuid. Values are as they were given: escape them where you print.
    Answers:
        OK: the line is not written by the core; the plugin has taken it.
        CONT: the line is written.
    Kind: decide; plain functions only, since a log line can be written where nothing can be awaited.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: log. There any value but CONT takes the line.
    """


# The life of a connection.


@hookspec(OBSERVE)
def hook_connect_init(connection: Connection) -> None:
    """A client has connected, and nothing has been said yet.

    Fires: first of all, once the client's address is known (behind a proxy: once it has told it).
    Arguments:
        connection: remote.ip, remote.port, local.ip, local.port are known.
    Answers: none; all are called.
    Kind: observe.
    Not known yet: the client's host name, its HELO name, the transaction.
    Source: Haraka's hook list.
    Haraka: connect_init.
    """


@hookspec(FIND, OK, *DENIALS, DISCONNECT, on_fault=OnFault.UNAVAILABLE, finds=(str,))
def hook_lookup_rdns(connection: Connection) -> str | Verdict | None:
    """The host name that belongs to the client's address is looked for.

    Fires: after hook_connect_init, before the greeting.
    Arguments:
        connection: its remote.host is what is being looked for.
    Answers:
        a str, or OK(name): the host name.
        CONT: ask DNS; without an answer remote.host is NXDOMAIN, DNSERROR or Unknown.
        DENY: 554 5.7.25 rDNS Lookup Failed; and the same to every later command until QUIT.
        DENYSOFT: 421 4.7.25 rDNS Temporary Failure; closes.
        DENYDISCONNECT: 554 5.7.25 rDNS Lookup Failed; closes.
        DENYSOFTDISCONNECT: 421 4.7.25 rDNS Temporary Failure; closes.
        DISCONNECT: 554 5.7.25 rDNS Lookup Failed; closes.
    Kind: find.
    Not known yet: the client's HELO name, the transaction.
    Source: RFC 1912 2.1, RFC 7372 3.3.
    Haraka: lookup_rdns. A plain string is an answer here, too. There DENYSOFT keeps the connection open;
        here 421 always closes it (RFC 5321 3.8).
    """


@hookspec(DECIDE, OK, *DENIALS, DISCONNECT, on_fault=OnFault.UNAVAILABLE)
def hook_connect(connection: Connection) -> Verdict | None:
    """The client's host name is known, and the greeting is about to be sent.

    Fires: after hook_lookup_rdns.
    Arguments:
        connection: remote.host is known.
    Answers:
        OK: 220 {hostname} {greeting}; a text of the verdict replaces it.
        CONT: 220 {hostname} {greeting}.
        DENY: 554 5.7.1 Your mail is not welcome here; and the same to every later command until QUIT.
        DENYSOFT: 421 4.7.0 Come back later; closes.
        DENYDISCONNECT: 554 5.7.1 Your mail is not welcome here; closes.
        DENYSOFTDISCONNECT: 421 4.7.0 Come back later; closes.
        DISCONNECT: 554 5.7.1 Your mail is not welcome here; closes.
    Kind: decide.
    Not known yet: the client's HELO name, the transaction.
    Source: RFC 5321 3.1.
    Haraka: connect. There DENYSOFT keeps the connection open; here 421 always closes it (RFC 5321 3.8).
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_helo(connection: Connection, host: str) -> Verdict | None:
    """The client has said HELO.

    Fires: for each HELO with a usable name; connection.hello already holds it.
    Arguments:
        connection: a transaction that was open has been reset.
        host: the name the client gave: a domain or an address literal, not verified.
    Answers:
        OK: 250 {hostname} Hello {client}; no further plugin is asked.
        CONT: 250 {hostname} Hello {client}.
        DENY: 550 5.7.1 HELO denied; the name from before stays.
        DENYSOFT: 450 4.7.1 HELO denied; the name from before stays.
        DENYDISCONNECT: 550 5.7.1 HELO denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 HELO denied; closes.
    Kind: decide.
    Not known yet: the transaction.
    Source: RFC 5321 4.1.1.1.
    Haraka: helo. There a denial also forgets an earlier name.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_ehlo(connection: Connection, host: str) -> Verdict | None:
    """The client has said EHLO.

    Fires: for each EHLO with a usable name; connection.hello already holds it.
    Arguments:
        connection: a transaction that was open has been reset.
        host: the name the client gave: a domain or an address literal, not verified.
    Answers:
        OK: 250 {hostname} Hello {client}, and the capabilities; no further plugin is asked.
        CONT: 250 {hostname} Hello {client}, and the capabilities.
        DENY: 550 5.7.1 EHLO denied; the name from before stays.
        DENYSOFT: 450 4.7.1 EHLO denied; the name from before stays.
        DENYDISCONNECT: 550 5.7.1 EHLO denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 EHLO denied; closes.
    Kind: decide.
    Not known yet: the transaction.
    Source: RFC 5321 4.1.1.1.
    Haraka: ehlo. There a denial also forgets an earlier name.
    """


@hookspec(AMEND, finds=(str,))
def hook_capabilities(connection: Connection) -> Sequence[str] | None:
    """The list of extensions in the reply to EHLO is being made.

    Fires: after hook_ehlo let the client pass.
    Arguments:
        connection: its capabilities list holds what is offered so far and may be changed.
    Answers: a list of lines to add, such as ["XFOO 1"]; all are called.
    Kind: amend.
    Not known yet: the transaction.
    Source: RFC 5321 4.1.1.1.
    Haraka: capabilities. There lines are only pushed on connection.capabilities.
    """


@hookspec(AMEND, finds=(str,))
def hook_auth_mechanisms(connection: Connection) -> Sequence[str] | None:
    """The list of ways to log in is being made, for the reply to EHLO.

    Fires: after hook_ehlo let the client pass, if any plugin implements hook_auth, nobody has logged in, and
        there is TLS or the listener goes without it.
    Arguments:
        connection: tls tells of the TLS session, if there is one.
    Answers: a list of SASL mechanisms whose credentials this plugin can judge, such as ["PLAIN", "LOGIN"];
        all are called. Those that cannot work here are left out: EXTERNAL without a verified certificate of
        the client's, SCRAM-SHA-256-PLUS without channel binding. If no plugin implements this hook, PLAIN and
        LOGIN are offered.
    Kind: amend.
    Not known yet: the user, the transaction.
    Source: RFC 4954 3.
    Haraka: auth_mechanisms is new. There a plugin puts the list into connection.notes.allowed_auth_methods.
    """


@hookspec(FIND, OK, Action.DENYSOFT, finds=(ScramSecret,))
def hook_auth_secret(connection: Connection, user: str) -> ScramSecret | Verdict | None:
    """The stored secret of a user is looked for, because the client has begun a SCRAM exchange.

    Fires: in the middle of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS; nothing is proven yet.
    Arguments:
        connection: nobody has logged in.
        user: the name that the client gave, prepared by SASLprep.
    Answers:
        a ScramSecret, or OK(secret): what is stored of the user's password.
        CONT: there is no such user; the exchange goes on with a secret that nothing fits, and ends in the
            same reply as with a wrong password. It looks like the last one that a plugin has given, so all
            users' should have one number of iterations and one length of salt.
        DENYSOFT: 454 4.7.0 Temporary authentication failure.
    Kind: find.
    Not known yet: whether the client knows the password.
    Source: RFC 5802 5, RFC 4954 6.
    Haraka: auth_secret is new, as SCRAM is.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_auth(connection: Connection, credentials: Credentials) -> Verdict | None:
    """A client wants to log in, and has shown credentials.

    Fires: at the end of an AUTH exchange, before its reply. For SCRAM the password has been proven by then.
    Arguments:
        connection: tls tells whether the password came in clear.
        credentials: PasswordCredentials, CramMd5Credentials, ScramCredentials, TokenCredentials or
            ExternalCredentials: look which they are, and answer CONT to kinds that are not yours. Its authcid
            is who has logged in, its authzid whom the client wants to act as, "" for the same. Take as long
            for an unknown user as for a wrong password.
    Answers:
        OK: 235 2.7.0 Authentication successful; the client is relaying, and connection.auth_user is authcid.
            OK(value=name) names another user, without which a client that wants to act as another is refused.
        CONT: 535 5.7.8 authentication credentials invalid; after a delay that grows.
        DENY: 535 5.7.8 authentication credentials invalid; after a delay that grows.
        DENYSOFT: 454 4.7.0 Temporary authentication failure.
        DENYDISCONNECT: 535 5.7.8 authentication credentials invalid; closes.
        DENYSOFTDISCONNECT: 454 4.7.0 Temporary authentication failure; closes.
    Kind: decide.
    Not known yet: the transaction.
    Source: RFC 4954.
    Haraka: auth is new. There plugins derive from auth_base and run the exchange themselves, within
        hook_unrecognized_command.
    """


@hookspec(DECIDE, OK, *DENIALS, HOOK_NEXT)
def hook_unrecognized_command(connection: Connection, verb: str, argument: str) -> Verdict | None:
    """The client has sent a command that the core does not know, or does not offer.

    Fires: for each such command.
    Arguments:
        connection: with or without a transaction.
        verb: the first word, upper case.
        argument: the rest of the line without surrounding spaces.
    Answers:
        OK: 250 2.0.0 OK; give it the text and the code of your answer.
        HOOK_NEXT: HOOK_NEXT("noop") runs that command's hook and replies as it does; noop, rset, quit, vrfy.
        CONT: 500 5.5.1 Unrecognized command; counted as an error of the client.
        DENY: 500 5.5.1 Unrecognized command.
        DENYSOFT: 500 5.5.1 Unrecognized command; counted as an error of the client.
        DENYDISCONNECT: 521 5.5.1 Unrecognized command; closes.
        DENYSOFTDISCONNECT: 421 4.5.1 Unrecognized command; closes.
    Kind: decide.
    Not known yet: what the core would need to know to serve it.
    Source: RFC 5321 4.2.4.
    Haraka: unrecognized_command. HOOK_NEXT without the name of a hook leaves the client without an answer
        there; here it is a fault. There OK means that the plugin has replied by itself.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_vrfy(connection: Connection, argument: str) -> Verdict | None:
    """The client asks whether a mailbox exists.

    Fires: for each VRFY with an argument.
    Arguments:
        connection: with or without a transaction, which VRFY leaves alone.
        argument: what to verify, as the client wrote it.
    Answers:
        OK: 250 2.1.5 User OK.
        CONT: 252 2.1.5 Cannot verify the user, but will take mail for it and try to deliver.
        DENY: 550 5.7.1 Access Denied.
        DENYSOFT: 450 4.7.1 Lookup Failed.
        DENYDISCONNECT: 550 5.7.1 Access Denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 Lookup Failed; closes.
    Kind: decide.
    Not known yet: whether the client will send mail to it.
    Source: RFC 5321 3.5, 4.1.1.6.
    Haraka: vrfy. There the argument is not passed, and a denial resets the transaction.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_noop(connection: Connection) -> Verdict | None:
    """The client has said NOOP.

    Fires: for each NOOP.
    Arguments:
        connection: with or without a transaction, which NOOP leaves alone.
    Answers:
        OK: 250 2.0.0 OK.
        CONT: 250 2.0.0 OK.
        DENY: 500 5.7.1 Stop wasting my time.
        DENYSOFT: 450 4.7.1 Stop wasting my time.
        DENYDISCONNECT: 500 5.7.1 Stop wasting my time; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 Stop wasting my time; closes.
    Kind: decide.
    Not known yet: nothing.
    Source: RFC 5321 4.1.1.9.
    Haraka: noop. There the soft denials are answered with 250.
    """


@hookspec(OBSERVE)
def hook_rset(connection: Connection) -> None:
    """The client has said RSET.

    Fires: for each RSET, before the transaction is dropped, and also when there is none.
    Arguments:
        connection: its transaction is still there.
    Answers: none; the reply is always 250 2.0.0 OK.
    Kind: observe.
    Not known yet: nothing.
    Source: RFC 5321 4.1.1.5.
    Haraka: rset.
    """


@hookspec(DECIDE, OK, on_fault=OnFault.ABSENT)
def hook_quit(connection: Connection) -> Verdict | None:
    """The client has said QUIT.

    Fires: once, before the transaction, if there is one, is dropped.
    Arguments:
        connection: still open.
    Answers:
        OK: 221 2.0.0 {hostname} closing connection; a text of the verdict replaces it.
        CONT: 221 2.0.0 {hostname} closing connection.
    Kind: decide.
    Not known yet: nothing.
    Source: RFC 5321 4.1.1.10.
    Haraka: quit.
    """


@hookspec(OBSERVE)
def hook_disconnect(connection: Connection) -> None:
    """The connection has ended, whoever ended it.

    Fires: once for each connection that fired hook_connect_init, after hook_reset_transaction if a
        transaction was open. It runs although the client is gone, under the hook timeout.
    Arguments:
        connection: with its counters and results complete; nothing can be sent any more.
    Answers: none; all are called.
    Kind: observe.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: disconnect.
    """


# The life of a transaction.


@hookspec(DECIDE, OK, *DENIALS)
def hook_mail(connection: Connection, sender: Address, params: MailParameters) -> Verdict | None:
    """The client has named the sender, and a transaction begins.

    Fires: for each MAIL command in order and well formed; connection.transaction is there.
    Arguments:
        connection: transaction.mail_from is the sender.
        sender: the reverse-path; is_null for reports and the like.
        params: SIZE, BODY, SMTPUTF8, RET, ENVID ... as typed values and by key.
    Answers:
        OK: 250 2.1.0 sender <{address}> OK; no further plugin is asked.
        CONT: 250 2.1.0 sender <{address}> OK.
        DENY: 550 5.7.1 sender <{address}> denied; ends the transaction.
        DENYSOFT: 450 4.7.1 sender <{address}> denied; ends the transaction.
        DENYDISCONNECT: 550 5.7.1 sender <{address}> denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 sender <{address}> denied; closes.
    Kind: decide.
    Not known yet: recipients, content.
    Source: RFC 5321 4.1.1.2.
    Haraka: mail. There a second MAIL is taken within a transaction; here it is refused with 503.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_rcpt(connection: Connection, recipient: Address, params: RcptParameters) -> Verdict | None:
    """The client has named a recipient: is it ours to take?

    Fires: for each RCPT command in order and well formed.
    Arguments:
        connection: transaction.rcpt_to ends with this recipient; a refusal takes it off again.
        recipient: the forward-path.
        params: NOTIFY and ORCPT as typed values and by key.
    Answers:
        OK: 250 2.1.5 recipient <{address}> OK; after hook_rcpt_ok agreed. A text of the verdict replaces it.
        CONT: 550 5.7.1 I cannot deliver mail for <{address}>; if connection.relaying is set it counts as OK.
        DENY: 550 5.7.1 recipient <{address}> denied.
        DENYSOFT: 450 4.7.1 recipient <{address}> denied.
        DENYDISCONNECT: 550 5.7.1 recipient <{address}> denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 recipient <{address}> denied; closes.
    Kind: decide; at least one plugin must say OK, or no mail is taken.
    Not known yet: further recipients, content.
    Source: RFC 5321 4.1.1.3.
    Haraka: rcpt.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_rcpt_ok(connection: Connection, recipient: Address) -> Verdict | None:
    """A recipient is about to be accepted.

    Fires: after hook_rcpt gave OK, or the client is relaying.
    Arguments:
        connection: transaction.rcpt_to already ends with this recipient.
        recipient: the forward-path.
    Answers:
        OK: 250 2.1.5 recipient <{address}> OK; a text of the verdict, else the one of hook_rcpt, replaces it.
        CONT: 250 2.1.5 recipient <{address}> OK; a text of the verdict of hook_rcpt replaces it.
        DENY: 550 5.7.1 recipient <{address}> denied.
        DENYSOFT: 450 4.7.1 recipient <{address}> denied.
        DENYDISCONNECT: 550 5.7.1 recipient <{address}> denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 recipient <{address}> denied; closes.
    Kind: decide.
    Not known yet: further recipients, content.
    Source: RFC 5321 4.1.1.3.
    Haraka: rcpt_ok.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_data(connection: Connection) -> Verdict | None:
    """The client wants to send the content.

    Fires: at DATA, before 354; with CHUNKING at the first BDAT of a transaction.
    Arguments:
        connection: transaction.rcpt_to has at least one recipient.
    Answers:
        OK: 354 go ahead, make my day; no further plugin is asked.
        CONT: 354 go ahead, make my day.
        DENY: 554 5.7.1 Message denied; ends the transaction.
        DENYSOFT: 451 4.7.1 Message denied; ends the transaction.
        DENYDISCONNECT: 554 5.7.1 Message denied; closes.
        DENYSOFTDISCONNECT: 451 4.7.1 Message denied; closes.
    Kind: decide.
    Not known yet: content.
    Source: RFC 5321 4.1.1.4.
    Haraka: data.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_data_post(connection: Connection) -> Verdict | None:
    """The content has arrived whole and is within all limits.

    Fires: after the end of data, before hook_queue or hook_queue_outbound.
    Arguments:
        connection: transaction.header and transaction.content can be read and changed.
    Answers:
        OK: no reply yet; no further plugin is asked, and the mail goes on to be queued.
        CONT: no reply yet; the mail goes on to be queued.
        DENY: 550 5.7.1 Message denied; ends the transaction.
        DENYSOFT: 450 4.7.1 Message denied temporarily; ends the transaction.
        DENYDISCONNECT: 550 5.7.1 Message denied; closes.
        DENYSOFTDISCONNECT: 450 4.7.1 Message denied temporarily; closes.
    Kind: decide.
    Not known yet: whether the mail can be queued.
    Source: RFC 5321 4.1.1.4.
    Haraka: data_post.
    """


@hookspec(DECIDE, *DENIALS)
def hook_max_data_exceeded(connection: Connection) -> Verdict | None:
    """The content was larger than the limit.

    Fires: after the end of data, in place of hook_data_post. The content has not been kept.
    Arguments:
        connection: transaction.data_bytes tells how much came.
    Answers:
        CONT: 552 5.3.4 Message too big!; ends the transaction.
        DENY: 552 5.3.4 Message too big!; ends the transaction.
        DENYSOFT: 452 4.3.4 Message too big!; ends the transaction.
        DENYDISCONNECT: 552 5.3.4 Message too big!; closes.
        DENYSOFTDISCONNECT: 452 4.3.4 Message too big!; closes.
    Kind: decide; the message cannot be taken in any case, so OK is no answer.
    Not known yet: nothing.
    Source: RFC 1870 6.3.
    Haraka: max_data_exceeded. There the code is 550 or 450, and the connection is kept.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_queue(connection: Connection) -> Verdict | None:
    """Who takes this mail? OK promises that it is safe on disk or with the next server.

    Fires: after hook_data_post, when the client is not relaying. A disconnect or a stop of the server does
        not cut it short; only its timeout does.
    Arguments:
        connection: transaction.content is what to store.
    Answers:
        OK: 250 2.0.0 Message Queued ({uuid}); the message is ours now.
        CONT: 451 4.3.0 No queue took the message, try again later ({uuid}); ends the transaction.
        DENY: 550 5.7.1 Message denied ({uuid}); ends the transaction.
        DENYSOFT: 450 4.7.1 Message denied temporarily ({uuid}); ends the transaction.
        DENYDISCONNECT: 550 5.7.1 Message denied ({uuid}); closes.
        DENYSOFTDISCONNECT: 450 4.7.1 Message denied temporarily ({uuid}); closes.
    Kind: decide; at least one plugin must say OK, or no mail is taken.
    Not known yet: nothing.
    Source: RFC 5321 4.1.1.4, 6.1.
    Haraka: queue. There the 451 has no text.
    """


@hookspec(DECIDE, OK, *DENIALS)
def hook_queue_outbound(connection: Connection) -> Verdict | None:
    """Who takes this mail, which goes out to other servers, in the place of the queue?

    Fires: after hook_data_post, when the client is relaying. A disconnect or a stop of the server does not
        cut it short; only its timeout does.
    Arguments:
        connection: transaction.content is what to store.
    Answers:
        OK: 250 2.0.0 Message Queued ({uuid}); the message is ours now.
        CONT: the server's own queue takes the message, and delivers it; the reply is that of OK. If it
            cannot, the client reads 452 4.3.1 (no room) or 451 4.3.0, and comes again.
        DENY: 550 5.7.1 Message denied ({uuid}); ends the transaction.
        DENYSOFT: 450 4.7.1 Message denied temporarily ({uuid}); ends the transaction.
        DENYDISCONNECT: 550 5.7.1 Message denied ({uuid}); closes.
        DENYSOFTDISCONNECT: 450 4.7.1 Message denied temporarily ({uuid}); closes.
    Kind: decide.
    Not known yet: whether it can be delivered.
    Source: RFC 5321 3.6.
    Haraka: queue_outbound. There a disk error of the queue becomes 550; here it stays temporary.
    """


@hookspec(OBSERVE)
def hook_queue_ok(connection: Connection, reply: Reply) -> None:
    """The mail has been taken.

    Fires: after hook_queue or hook_queue_outbound said OK, or the server's own queue took the mail; before
        the client is told.
    Arguments:
        connection: the transaction is still there.
        reply: what the client is about to read.
    Answers: none; the mail has been taken whatever they say.
    Kind: observe.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: queue_ok.
    """


@hookspec(OBSERVE)
def hook_reset_transaction(connection: Connection) -> None:
    """A transaction is about to be dropped, whatever became of it.

    Fires: once for each transaction: after the mail, at RSET, HELO, EHLO, STARTTLS, a refused MAIL or DATA,
        or when the connection ends.
    Arguments:
        connection: the transaction is still there.
    Answers: none; all are called.
    Kind: observe.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: reset_transaction.
    """


@hookspec(DECIDE, OK, on_fault=OnFault.ABSENT)
def hook_deny(connection: Connection, verdict: Verdict, plugin: str, hook: str) -> Verdict | None:
    """A plugin has refused something, and the refusal is about to take effect.

    Fires: for each denial on a hook of a connection, faults included.
    Arguments:
        connection: as the hook that was denied saw it.
        verdict: the denial.
        plugin: the name of the plugin that gave it.
        hook: the hook's name without prefix, such as "rcpt".
    Answers:
        OK: the denial is undone: the remaining plugins of that hook are asked.
        CONT: the denial stands.
    Kind: decide. A fault, or any other verdict, keeps the denial.
    Not known yet: as the hook that was denied.
    Source: Haraka's hook list.
    Haraka: deny. There a denial in this hook calls the hook again without end.
    """


# The life of a message that goes out.


@hookspec(OBSERVE)
def hook_pre_send_trans_email(hmail: HMail) -> None:
    """A message is about to be stored for delivery.

    Fires: once a message, reports of ours included, after Message-ID, Date and Received were added. Not for
        mail that `harakapy send` stores while the server is stopped.
    Arguments:
        hmail: the message with all its recipients; its header and body may be changed, its notes are kept.
    Answers: none; all are called.
    Kind: observe. A faulty plugin counts as absent.
    Not known yet: the next hop.
    Source: Haraka's hook list.
    Haraka: pre_send_trans_email.
    """


@hookspec(DECIDE, OK, DELAY, on_fault=OnFault.ABSENT)
def hook_send_email(hmail: HMail) -> Verdict | None:
    """A delivery is about to be tried.

    Fires: before each attempt.
    Arguments:
        hmail: the message, its recipients of one destination, attempts, notes.
    Answers:
        OK: go on, and call no further plugin of this hook.
        CONT: go on.
        DELAY: DELAY(seconds) puts the attempt off by so long; it does not count as a failure.
    Kind: decide. A faulty plugin counts as absent.
    Not known yet: the next hop.
    Source: Haraka's hook list.
    Haraka: send_email.
    """


@hookspec(FIND, OK, Action.DENY, Action.DENYSOFT, on_fault=OnFault.TEMPFAIL, finds=(object,))
def hook_get_mx(hmail: HMail, domain: str) -> Any:
    """Where does mail for this domain go?

    Fires: before each attempt, after hook_send_email, unless an operator has rerouted the mail.
    Arguments:
        hmail: the message, its recipients of one destination, attempts, notes.
        domain: the domain of the recipients, in the form for DNS.
    Answers:
        a next hop or a list of them, or OK(next hops): they are tried in the order of their preferences. A
            next hop is a NextHop, a URL ("smtp://user:pass@host:587", "lmtp:///run/lmtp.sock"), a host name,
            or a dictionary with Haraka's keys (exchange, port, priority, bind, bind_helo, using_lmtp,
            auth_user, auth_pass, path).
        CONT: ask the routes of the settings, then DNS.
        DENY: the recipients fail; the text is the reason that their sender reads.
        DENYSOFT: the attempt is put off.
    Kind: find. A faulty plugin, or an answer that is no next hop, puts the attempt off: whoever has a way of
        its own for a domain must not see its mail go where DNS says, or fail.
    Not known yet: the addresses of the hosts.
    Source: RFC 5321 5.1.
    Haraka: get_mx.
    """


@hookspec(OBSERVE)
def hook_delivered(hmail: HMail, delivery: Handover) -> None:
    """One or more recipients have been delivered to the next hop.

    Fires: after each delivery, before it is written down.
    Arguments:
        hmail: the message.
        delivery: host, address, port, reply, delay, recipients, TLS and authentication.
    Answers: none; all are called.
    Kind: observe. A faulty plugin counts as absent.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: delivered.
    """


@hookspec(DECIDE, OK, DELAY, on_fault=OnFault.ABSENT)
def hook_deferred(hmail: HMail, deferral: Deferral) -> Verdict | None:
    """A delivery has failed for now and will be tried again.

    Fires: after each such failure.
    Arguments:
        hmail: the message.
        deferral: the planned delay in seconds, the error, the recipients concerned.
    Answers:
        OK: keep the planned delay, and call no further plugin of this hook.
        CONT: keep the planned delay.
        DELAY: DELAY(seconds) replaces the planned delay.
    Kind: decide. A faulty plugin counts as absent.
    Not known yet: nothing.
    Source: Haraka's hook list.
    Haraka: deferred. There any other value drops the message without a report.
    """


@hookspec(DECIDE, OK, on_fault=OnFault.ABSENT)
def hook_bounce(hmail: HMail, error: Bounce) -> Verdict | None:
    """Recipients have failed for good, and a report is about to go to the sender.

    Fires: after each permanent failure, also when the sender wants no report.
    Arguments:
        hmail: the message.
        error: the reason, with the recipients concerned and the last reply.
    Answers:
        OK: no report is sent.
        CONT: the report is sent.
    Kind: decide. A faulty plugin counts as absent: the report is sent.
    Not known yet: nothing.
    Source: RFC 3464.
    Haraka: bounce. There a plugin that times out suppresses the report.
    """
