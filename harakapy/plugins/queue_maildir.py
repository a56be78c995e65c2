"""queue_maildir: keep mail in Maildirs on this machine.

The road of a message: it is written to ``tmp/`` of the first Maildir and synced, linked into ``tmp/`` of the
others, then renamed to every ``new/``, and these directories are synced; then only it is OK. Nearly all that
can fail comes before the first rename, and what was done is undone when a step fails, so the client, which is
told to come again, finds no half of its message delivered. A crash at any point leaves files in ``tmp/``
(which mail readers remove after 36 hours, as the Maildir specification says) or whole messages in ``new/``,
of which the client may then send a second copy; never a loss or a part of a message.

All of it runs in threads, each message in one. Syncing many messages together by hand was tried: one thread
that wrote 4 to 40 messages of 4 KiB, synced them, renamed them and synced each directory once managed 940 to
1,430 a second (by syncfs 1,330 to 1,730), against 410 to 850 for one at a time, and 1,660 to 2,650 for 4 to
40 threads that know nothing of each other, on ext4 and 2 cores: the journal already shares its commits among
those who wait at the same time. Under a server there, 20 clients stored 760 messages a second, and 820 with
every sync left out: what costs most is the change of threads and their turns at the interpreter's lock.

The file is long because a plugin is one module, with its settings and the rules of its folders.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import string
import threading
import time
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Final

import trio
from pydantic import AfterValidator, Field

from harakapy import (
    DENYSOFT,
    OK,
    Address,
    Connection,
    Content,
    Plugin,
    PluginConfig,
    Verdict,
    hookimpl,
    return_path_field,
    to_ascii,
)

PLACEHOLDERS: Final = ("domain", "user", "recipient")

THREADS: Final = 32  # at once; from 16 on more made no difference that could be told from noise

MAX_NAME: Final = 180
"""Octets of a name made from an address: with `MAX_LITERAL` beside it still a file name, 255 octets."""
MAX_LITERAL: Final = 64  # octets of what else stands in such a name; picked

WRITE_OCTETS: Final = 65536  # collected for one write; what `Content.blocks` gives at a time

MAX_KNOWN: Final = 10_000  # Maildirs remembered as synced; about 2 MB, and forgetting costs a few syncs only

NO_ROOM: Final = DENYSOFT("4.3.1 Insufficient system storage, try again later", code=452)
NOT_STORED: Final = DENYSOFT("4.3.0 The message could not be stored, try again later", code=451)
_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_UNLINKABLE = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


def _template(path: str) -> str:
    try:
        _check_template(Path(path).parts)
    except ValueError as error:
        allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"must be a path that may have {allowed} in it: {error}") from None
    return path


def _check_template(parts: Sequence[str]) -> None:
    """Raise ValueError for placeholders that are none, or would not keep mailboxes apart."""
    is_below_address = False
    for part in parts:
        fields = [field for field in string.Formatter().parse(part) if field[1] is not None]
        for _, name, spec, conversion in fields:
            if name not in PLACEHOLDERS:
                raise ValueError(f"it has {{{name}}}")
            if spec or conversion:
                raise ValueError("they are filled in as they are, without ! or :")
        if len(fields) > 1:
            raise ValueError("two of them in one name could be filled alike by different addresses")
        is_below_address = is_below_address or bool(fields)
        if is_below_address and part == "..":
            raise ValueError("it goes up by '..' behind one of them")
        if fields and len(part.encode()) > MAX_LITERAL:
            raise ValueError(f"a name with one of them has over {MAX_LITERAL} octets")


class QueueMaildirConfig(PluginConfig):
    """The settings of `QueueMaildir`."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_template)] = Field(
        "maildir/{domain}/{user}",
        description=(
            "The Maildir of a recipient, relative to `state_dir`. `{domain}`, `{user}` and `{recipient}` "
            "(`user@domain`) are filled in from its address, made safe for file names; one at most between "
            "two slashes."
        ),
        examples=["/var/mail/{recipient}"],
    )


class QueueMaildir(Plugin[QueueMaildirConfig]):
    """Stores each message in the Maildirs of its recipients, durably, before it says OK.

    Hook: ``queue``, which is asked about mail from clients that are not relaying. OK when the message is in
    all Maildirs and synced. ``452 4.3.1`` if the disk is full or broken or a quota is used up, ``451 4.3.0``
    for any other error of the file system; then it is in none. A message without recipients is left to the
    next plugin.

    Maildirs are made as they are needed, for the server's user only. One with several recipients of a
    message gets it once. The file begins with Return-Path; all else is as received, with CRLF. Between
    Maildirs on one file system the copies are hard links to one file.

    Names are made of addresses so that no two mailboxes share one: case does not count, letters, digits and
    ``._+=-`` stand for themselves, but for a ``.`` or ``-`` in front, everything else is written as ``%`` and
    its octets, and a name over 180 octets is cut and ends with a hash of the whole. A domain is written with
    A-labels; the bare ``<postmaster>`` is at the server's own name.

    It does not know which mailboxes exist, so anybody can have one made in an accepted domain: let a plugin
    that knows refuse the rest in ``rcpt``. A disk that does not answer is waited for, also beyond the hook's
    timeout, because it cannot be known whether the message would be stored in the end.

    Haraka's counterpart: none. Haraka leaves mailboxes to the next server, by queue/smtp_forward or
    queue/lmtp.
    """

    def register(self) -> None:
        """Find out where the Maildirs are."""
        self._threads = trio.CapacityLimiter(THREADS)
        self.reload(self.config)

    def reload(self, config: QueueMaildirConfig) -> None:
        """Use other settings for the messages to come."""
        settings = self.server.settings
        self.config = config
        self._layout = Layout(settings.state_dir, config.path, settings.hostname)
        self._store = MaildirStore(self._layout.base, settings.hostname)

    @hookimpl
    async def hook_queue(self, connection: Connection) -> Verdict | None:
        """Store the message.

        Once the thread has begun, nothing interrupts it: if cancelled here, the answer comes all the same.
        """
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within one"
        maildirs = list(dict.fromkeys(map(self._layout.maildir, transaction.rcpt_to)))
        if not maildirs:
            return None
        head = return_path_field(transaction.mail_from)
        try:
            name = await trio.to_thread.run_sync(
                self._store.put, maildirs, head, transaction.content, limiter=self._threads
            )
        except OSError as error:
            connection.log.error("message not stored", plugin=self.name, error=str(error))
            return NO_ROOM if error.errno in _STORAGE_ERRORS else NOT_STORED
        connection.log.debug("message stored", plugin=self.name, file=name, maildirs=len(maildirs))
        return OK


class Layout:
    """Which Maildir belongs to whom; ``base`` is the folder that all of them are below."""

    def __init__(self, state_dir: Path, template: str, hostname: str) -> None:
        """``template`` is a checked `QueueMaildirConfig.path`."""
        parts = Path(template).expanduser().parts
        fixed = next((index for index, part in enumerate(parts) if "{" in part), len(parts))
        self.base = Path(state_dir, *parts[:fixed]).absolute()
        self._parts = parts[fixed:]
        self._hostname = hostname

    def maildir(self, recipient: Address) -> Path:
        """The path of a recipient's Maildir."""
        user, domain = _written(recipient.user), _written(_domain(recipient.host or self._hostname))
        names = {"user": _short(user), "domain": _short(domain), "recipient": _short(f"{user}@{domain}")}
        return self.base.joinpath(*(part.format(**names) for part in self._parts))


class MaildirStore:
    """Writes messages to Maildirs, from any number of threads."""

    def __init__(self, base: Path, hostname: str) -> None:
        """``base`` is the folder that all Maildirs are in, or the only one."""
        self._base = base
        # The Maildir specification's way to write these two in a host name.
        self._hostname = hostname.replace("/", r"\057").replace(":", r"\072")
        self._count = itertools.count(1)
        self._making = threading.Lock()
        self._known: set[Path] = set()

    def put(self, maildirs: Sequence[Path], head: bytes, content: Content) -> str:
        """Store ``head`` and the content in each of the Maildirs, and give the name of the file.

        Raises OSError if the file system does not take it; it is then in none of them.
        """
        try:
            return self._put(maildirs, head, content)
        except FileNotFoundError:  # one that we knew has been removed
            self._known.clear()
            return self._put(maildirs, head, content)

    def _put(self, maildirs: Sequence[Path], head: bytes, content: Content) -> str:
        name = self._unique_name()
        with ExitStack() as undo:
            for maildir in maildirs:
                self._make(maildir)
                written = maildir / "tmp" / name
                undo.callback(_remove, written)
                if maildir == maildirs[0] or not _link(maildirs[0] / "tmp" / name, written):
                    _write(written, head, content)
            for maildir in maildirs:
                delivered = maildir / "new" / name
                undo.callback(_remove, delivered)
                (maildir / "tmp" / name).rename(delivered)
            for maildir in maildirs:
                _sync_directory(maildir / "new")
            undo.pop_all()
        return name

    def _unique_name(self) -> str:
        """A name that no other delivery has, in this process or another, here or on another host."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        unique = f"M{nanoseconds // 1000}P{os.getpid()}Q{next(self._count)}R{secrets.token_hex(4)}"
        return f"{seconds}.{unique}.{self._hostname}"

    def _make(self, maildir: Path) -> None:
        """Make sure that a Maildir is there, and will be after a crash.

        One that is there already may be so only since a moment ago, made by another thread or by a process
        that crashed, so it is synced as well, unless it was before.
        """
        if maildir in self._known:
            return
        with self._making:
            for name in ("tmp", "new", "cur"):
                _make_directory(maildir / name)
            above = maildir
            _sync_directory(above)
            while above != self._base:
                above = above.parent
                _sync_directory(above)
            with suppress(PermissionError):  # who may only search a folder did not make the base in it
                _sync_directory(self._base.parent)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known.add(maildir)


def _make_directory(path: Path) -> None:
    """Make a directory and those above it, for our user only."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        _make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, head: bytes, content: Content) -> None:
    """Write a new file, block by block, and sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=WRITE_OCTETS) as file:
        file.write(head)
        for block in content.blocks(WRITE_OCTETS):
            file.write(block)
        file.flush()
        os.fsync(descriptor)


def _link(source: Path, target: Path) -> bool:
    """Link a file to a second name. False if these two places cannot share a file."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in _UNLINKABLE:
            return False
        raise
    return True


def _remove(path: Path) -> None:
    """Remove a file, if it is there; a file system that fails here has failed before and was reported."""
    with suppress(OSError):
        path.unlink()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Addresses as file names. What needs no other writing has neither a capital letter nor a %, so no two texts
# are written alike: neither of two that are written in full, nor one of them and one that was cut.

_UNSAFE = re.compile(r"\A[.-]|[^a-z0-9._+=-]")


def _domain(host: str) -> str:
    try:
        return to_ascii(host)
    except ValueError:  # a literal, or no name in IDNA 2008
        return host


def _written(text: str) -> str:
    """A text as a name: never empty, ``.`` or ``..``, never begins with ``-``, printable ASCII without /."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return _UNSAFE.sub(_octets, folded) or "%~"


def _octets(character: re.Match[str]) -> str:
    return "".join(f"%{octet:02X}" for octet in character[0].encode("utf-8", "surrogatepass"))


def _short(name: str) -> str:
    """The name itself, or if it is too long its beginning and a hash of the whole."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode("ascii")).hexdigest()
    return f"{name[: MAX_NAME - len(digest) - 2]}%~{digest}"
