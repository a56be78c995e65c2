import errno
import mailbox
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy import Address, ConfigError, Connection, Content, Plugin, Reply, hookimpl
from harakapy.config import validate_plugin
from harakapy.mail import ContentWriter
from harakapy.plugins.queue_maildir import Layout, MaildirStore, QueueMaildir, QueueMaildirConfig
from harakapy.testing import connect

from .scene import CONTENT, HOSTNAME, Everybody, Keep, Scene, problems

STEPS = ("open", "mkdir", "fsync", "rename", "link")
"""The calls through which the store changes the file system, but for writing."""


def files(folder: Path, below: str = "*") -> list[Path]:
    return sorted(path for path in folder.rglob(below) if path.is_file())


async def hand_over(folder: Path, recipients: list[str], *plugins: object, **settings: Any) -> Reply:
    """The last reply to one message for these recipients."""
    scene = Scene(folder, Everybody(), QueueMaildir(**settings), *plugins)
    async with scene.client() as client:
        return (await client.hand_over("a@stranger.example", recipients, CONTENT))[-1]


async def test_a_message_lies_in_the_maildir_as_it_was_sent(tmp_path: Path) -> None:
    reply = await hand_over(tmp_path, ["Bob@Example.com"])
    assert (reply.code, reply.enhanced) == (250, "2.0.0")
    [path] = files(tmp_path)
    assert path.parent == tmp_path / "maildir" / "example.com" / "bob" / "new"
    trace, _, rest = path.read_bytes().partition(b"Subject: ")
    assert trace.startswith(b"Return-Path: <a@stranger.example>\r\nReceived: from client.example")
    assert b"Subject: " + rest == CONTENT


async def test_the_null_sender_is_in_the_return_path(tmp_path: Path) -> None:
    async with Scene(tmp_path, Everybody(), QueueMaildir()).client() as client:
        await client.hand_over("", ["b@example.com"], CONTENT)
    assert files(tmp_path)[0].read_bytes().startswith(b"Return-Path: <>\r\n")


async def test_other_programs_read_the_maildir(tmp_path: Path) -> None:
    await hand_over(tmp_path, ["bob@example.com"], path="{recipient}")
    box = mailbox.Maildir(tmp_path / "bob@example.com", create=False)
    assert [message["Subject"] for message in box] == ["test"]


async def test_only_the_server_may_read_the_mail(tmp_path: Path) -> None:
    await hand_over(tmp_path, ["bob@example.com"])
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "maildir").rglob("*") if path.is_dir()}
    assert modes == {0o700}
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600


async def test_each_maildir_gets_one_copy(tmp_path: Path) -> None:
    await hand_over(tmp_path, ["a@example.com", "A@EXAMPLE.com", "b@example.com", "a@example.net"])
    found = files(tmp_path)
    assert [str(path.parent.relative_to(tmp_path / "maildir")) for path in found] == [
        "example.com/a/new",
        "example.com/b/new",
        "example.net/a/new",
    ]
    assert {path.stat().st_nlink for path in found} == {3}


async def test_a_path_without_placeholders_is_one_maildir_for_all(tmp_path: Path) -> None:
    await hand_over(tmp_path, ["a@example.com", "b@example.net"], path=str(tmp_path / "all"))
    assert [path.parent for path in files(tmp_path)] == [tmp_path / "all" / "new"]


async def test_postmaster_is_at_the_name_of_the_server(tmp_path: Path) -> None:
    await hand_over(tmp_path, ["Postmaster"], path="{recipient}")
    assert [path.parent.parent.name for path in files(tmp_path)] == [f"postmaster@{HOSTNAME}"]


async def test_mail_of_a_relaying_client_is_left_to_others(tmp_path: Path) -> None:
    class Relaying(Plugin):
        @hookimpl
        def hook_connect_init(self, connection: Connection) -> None:
            connection.relaying = True

    keep = Keep()
    assert (await hand_over(tmp_path, ["b@example.com"], Relaying(), keep)).code == 250
    assert [hook for hook, *_ in keep.taken] == ["queue_outbound"]
    assert not files(tmp_path)


async def test_a_message_without_recipients_is_left_to_others(tmp_path: Path) -> None:
    class Forget(Plugin):
        @hookimpl
        def hook_data_post(self, connection: Connection) -> None:
            assert connection.transaction is not None
            connection.transaction.rcpt_to.clear()

    keep = Keep()
    assert (await hand_over(tmp_path, ["b@example.com"], Forget(), keep)).code == 250
    assert len(keep.taken) == 1


async def test_a_large_message_and_many_at_once_arrive_whole(tmp_path: Path) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 10_000
    scene = Scene(tmp_path, Everybody(), QueueMaildir())

    async def send() -> None:
        async with connect(scene.server) as client:
            await client.reply()
            await client.command("EHLO client.example")
            replies = await client.hand_over("a@stranger.example", ["b@example.com"], large)
            assert replies[-1].code == 250

    async with scene.server.running(), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(send)
    contents = [path.read_bytes() for path in files(tmp_path / "maildir")]
    assert len(contents) == 20
    assert all(content.endswith(large[16:]) for content in contents)


@pytest.mark.parametrize(
    ("number", "reply"),
    [
        (errno.ENOSPC, Reply(452, "Insufficient system storage, try again later", "4.3.1")),
        (errno.EDQUOT, Reply(452, "Insufficient system storage, try again later", "4.3.1")),
        (errno.EIO, Reply(452, "Insufficient system storage, try again later", "4.3.1")),
        (errno.EROFS, Reply(451, "The message could not be stored, try again later", "4.3.0")),
    ],
)
async def test_a_failing_disk_defers_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reply: Reply
) -> None:
    scene = Scene(tmp_path, Everybody(), QueueMaildir(), Keep())
    async with scene.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing_always(number))
            replies = await client.hand_over("a@stranger.example", ["b@example.com"], CONTENT)
        assert replies[-1] == reply
        assert not files(tmp_path)
        assert "message not stored" in scene.log
        assert os.strerror(number) in scene.log
        replies = await client.hand_over("a@stranger.example", ["b@example.com"], CONTENT)
        assert replies[-1].code == 250


async def test_something_in_the_way_defers_the_message(tmp_path: Path) -> None:
    (tmp_path / "maildir").write_text("not a folder")
    assert (await hand_over(tmp_path, ["b@example.com"])).code == 451


async def test_a_maildir_removed_under_the_server_is_made_again(tmp_path: Path) -> None:
    async with Scene(tmp_path, Everybody(), QueueMaildir()).client() as client:
        for _ in range(2):
            replies = await client.hand_over("a@stranger.example", ["b@example.com"], CONTENT)
            assert replies[-1].code == 250
            [path] = files(tmp_path)
            path.unlink()
            for folder in ("tmp", "new", "cur", ""):
                (path.parent.parent / folder).rmdir()


async def test_another_path_is_used_from_the_next_message_on(tmp_path: Path) -> None:
    plugin = QueueMaildir()
    async with Scene(tmp_path, Everybody(), plugin).client() as client:
        plugin.reload(QueueMaildirConfig(path="elsewhere"))
        await client.hand_over("a@stranger.example", ["b@example.com"], CONTENT)
    assert [path.parent for path in files(tmp_path)] == [tmp_path / "elsewhere" / "new"]


# The store by itself, when the file system fails or the machine stops.


def failing_always(number: int) -> Callable[..., Any]:
    def fail(*args: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@contextmanager
def failing_at(step: int, error: int) -> Iterator[list[int]]:
    """Make the step-th change of the file system fail; the list that is given counts them."""
    count = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            count[0] += 1
            if count[0] == step:
                raise OSError(error, os.strerror(error))
            return function(*args, **keywords)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(getattr(os, name)))
        yield count


def maildirs_in(base: Path) -> list[Path]:
    return [base / "example.com" / user for user in "abc"]


@pytest.mark.parametrize("is_new", [True, False])
def test_whatever_step_fails_the_message_is_nowhere_and_can_come_again(tmp_path: Path, is_new: bool) -> None:
    content = Content.from_bytes(CONTENT)
    step, is_done = 0, False
    while not is_done:
        step += 1
        base = tmp_path / f"{step}" / "base"
        base.parent.mkdir()
        store = MaildirStore(base, HOSTNAME)
        if not is_new:
            store.put(maildirs_in(base), b"", Content.from_bytes(b""))
        before = files(base)
        with failing_at(step, errno.ENOSPC) as count, suppress(OSError):
            store.put(maildirs_in(base), b"", content)
        is_done = count[0] < step
        assert is_done or files(base) == before
        store.put(maildirs_in(base), b"", content)
        assert len(files(base)) == len(before) + 3 * (1 + is_done)
    assert step > 10


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = MaildirStore(tmp_path, HOSTNAME)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            store.put([tmp_path / "a"], b"", Content.from_bytes(b"x" * 300_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not files(tmp_path)


CRASHES = """
import os, sys
from pathlib import Path
from harakapy import Content
from harakapy.plugins.queue_maildir import MaildirStore

def run(folder, step, steps):
    count = 0
    def counted(function):
        def call(*args, **keywords):
            nonlocal count
            count += 1
            if count == step:
                os._exit(1)
            return function(*args, **keywords)
        return call
    for name in steps:
        setattr(os, name, counted(getattr(os, name)))
    maildirs = [folder / "example.com" / user for user in "abc"]
    content = Content.from_bytes(b"x" * 200_000)
    MaildirStore(folder, "mx.test").put(maildirs, b"Return-Path: <>\\r\\n", content)
    os._exit(0)

step, status = 0, 1
while status:
    step += 1
    child = os.fork()
    if not child:
        run(Path(sys.argv[1], str(step)), step, sys.argv[2:])
    status = os.waitpid(child, 0)[1]
"""


def test_a_crash_at_any_step_leaves_whole_messages_only(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASHES, str(tmp_path), *STEPS], check=True, timeout=60)
    whole = b"Return-Path: <>\r\n" + b"x" * 200_000
    runs = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(runs) > 10
    for folder in runs:
        delivered = files(folder, "new/*")
        assert all(path.read_bytes() == whole for path in delivered)
        MaildirStore(folder, HOSTNAME).put(maildirs_in(folder), b"", Content.from_bytes(CONTENT))
        assert len(files(folder, "new/*")) == len(delivered) + 3
    assert len(delivered) == 3


def test_everything_is_synced_in_the_order_that_survives_a_crash(tmp_path: Path) -> None:
    done: list[tuple[str, Path]] = []
    base = tmp_path / "base"
    fsync, rename = os.fsync, os.rename
    with pytest.MonkeyPatch.context() as patch:

        def note_fsync(descriptor: int) -> None:
            done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
            fsync(descriptor)

        def note_rename(source: Path, target: Path) -> None:
            done.append(("rename", Path(target)))
            rename(source, target)

        patch.setattr(os, "fsync", note_fsync)
        patch.setattr(os, "rename", note_rename)
        name = MaildirStore(base, HOSTNAME).put(maildirs_in(base)[:2], b"", Content.from_bytes(CONTENT))
    one, two = maildirs_in(base)[:2]
    made = [base.parent, base, base / "example.com", one, two]
    first_rename = done.index(("rename", one / "new" / name))
    assert {path for what, path in done[:first_rename] if what == "sync"} >= {*made, one / "tmp" / name}
    assert done[first_rename:] == [
        ("rename", one / "new" / name),
        ("rename", two / "new" / name),
        ("sync", one / "new"),
        ("sync", two / "new"),
    ]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_where_a_file_cannot_be_shared_each_maildir_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing_always(number))
    MaildirStore(tmp_path, HOSTNAME).put(maildirs_in(tmp_path), b"", Content.from_bytes(CONTENT))
    assert [path.stat().st_nlink for path in files(tmp_path)] == [1, 1, 1]
    assert {path.read_bytes() for path in files(tmp_path)} == {CONTENT}


def test_names_are_unique_among_threads(tmp_path: Path) -> None:
    store, content = MaildirStore(tmp_path, "a/b:c"), Content.from_bytes(CONTENT)
    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda _: store.put([tmp_path / "box"], b"", content), range(200)))
    assert len(set(names)) == len(files(tmp_path)) == 200
    assert all(name.endswith(r".a\057b\072c") for name in names)


def test_twenty_megabytes_pass_through_little_memory(tmp_path: Path) -> None:
    writer = ContentWriter(1024, tmp_path)
    for _ in range(320):
        writer.write(b"x" * 65536)
        writer.flush()
    store = MaildirStore(tmp_path / "box", HOSTNAME)
    with writer.finish() as content:
        tracemalloc.start()
        store.put([tmp_path / "box"], b"", content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert files(tmp_path / "box")[0].stat().st_size == 320 * 65536
    assert peak < 1 << 20


# Where a recipient's Maildir is.

TEMPLATES = ["maildir/{domain}/{user}", "{recipient}", "box-{recipient}", "a/{domain}/{user}/.box"]
HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "__proto__",
    "-oQ/tmp",
    "|cmd",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "{user}",
    "%2e%2e",
    "%~",
    "new",
    "ü" * 32,
    "\\..\\..",
    "a" * 300,
    "\ud800",
]


class AnyRecipient:
    """What an address could be if nobody had checked it."""

    def __init__(self, user: str, host: str) -> None:
        self.user, self.host = user, host


any_text = st.one_of(st.text(st.characters(), max_size=80), st.sampled_from(HOSTILE))


@pytest.mark.parametrize("template", TEMPLATES)
@given(user=any_text, host=any_text)
@example(user="..", host="..")
def test_any_recipient_is_strictly_below_the_base(template: str, user: str, host: str) -> None:
    layout = Layout(Path("/state"), template, HOSTNAME)
    recipient: Any = AnyRecipient(user, host)
    maildir = str(layout.maildir(recipient))
    assert maildir.isascii()
    assert maildir.isprintable()
    assert os.path.normpath(maildir) == maildir
    assert maildir.startswith(f"{layout.base}/")
    names = Path(maildir).relative_to(layout.base).parts
    assert len(names) == len(Path(template).parts) - len(layout.base.relative_to("/state").parts)
    for name in names:
        assert len(name) <= 255 - len("/tmp")
        assert not name.startswith("-")


@pytest.mark.parametrize("user", HOSTILE)
def test_a_hostile_recipient_gets_a_file_in_its_own_maildir(tmp_path: Path, user: str) -> None:
    layout = Layout(tmp_path, "base/{domain}/{user}", HOSTNAME)
    recipient: Any = AnyRecipient(user, "example.com")
    MaildirStore(layout.base, HOSTNAME).put([layout.maildir(recipient)], b"", Content.from_bytes(CONTENT))
    [path] = files(tmp_path)
    assert path.resolve().is_relative_to(tmp_path / "base" / "example.com")
    assert len(path.relative_to(tmp_path).parts) == 5


def folded(user: str) -> str:
    return normalize("NFC", normalize("NFC", user).lower())


@pytest.mark.parametrize("template", TEMPLATES)
@given(one=any_text, other=any_text)
def test_two_mailboxes_share_no_maildir(template: str, one: str, other: str) -> None:
    layout = Layout(Path("/state"), template, HOSTNAME)
    places: list[Any] = [AnyRecipient(user, "example.com") for user in (one, other)]
    is_same = layout.maildir(places[0]) == layout.maildir(places[1])
    assert is_same == (folded(one) == folded(other))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("bob@example.com", "BOB@example.com", True),
        ("a@bücher.example", "a@xn--bcher-kva.example", True),
        ("u\u0308@example.com", "\u00fc@example.com", True),
        ("ü@example.com", '"%c3%bc"@example.com', False),
        ("straße@example.com", "strasse@example.com", False),
        ('"a@b"@c.example', "a@b.c.example", False),
        ("a@[127.0.0.1]", "a@127.0.0.1.example", False),
        ('""@example.com', '"%~"@example.com', False),
        (f"{'ü' * 32}@example.com", f"{'ü' * 31}@example.com", False),
    ],
)
def test_who_shares_a_maildir_with_whom(one: str, other: str, is_same: bool) -> None:
    layout = Layout(Path("/state"), "{recipient}", HOSTNAME)
    maildirs = {layout.maildir(Address.parse(address)) for address in (one, other)}
    assert len(maildirs) == (1 if is_same else 2)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("Bob.Smith+list@Example.com", "bob.smith+list@example.com"),
        ("-oq@example.com", "%2Doq@example.com"),
        ('".."@example.com', "%2E.@example.com"),
        ("a/b@example.com", "a%2Fb@example.com"),
        ("a@[IPv6:::1]", "a@%5Bipv6%3A%3A%3A1%5D"),
        ("ü@bücher.example", "%C3%BC@xn--bcher-kva.example"),
    ],
)
def test_names_can_still_be_read(address: str, name: str) -> None:
    assert Layout(Path("/state"), "{recipient}", HOSTNAME).maildir(Address.parse(address)).name == name


def test_the_home_folder_may_be_named_by_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Layout(Path("/state"), "~/mail", HOSTNAME).base == Path("/home/me/mail")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mail/{name}", "it has {name}"),
        ("mail/{}", "it has {}"),
        ("mail/{user", "must be a path that may have {domain}, {user}, {recipient} in it"),
        ("mail/{user.__class__}", "it has {user.__class__}"),
        ("mail/{user!r}", "filled in as they are"),
        ("mail/{user:>10}", "filled in as they are"),
        ("mail/{user}{domain}", "two of them in one name"),
        ("mail/{user}/../x", "goes up"),
        ("mail/{user}" + "x" * 60, "over 64 octets"),
        ("", "at least 1 character"),
        (3, "must be text"),
    ],
)
def test_wrong_paths_are_explained(path: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_maildir", {"path": path}, QueueMaildirConfig)
    assert message in problems(caught.value)["plugin.queue_maildir.path"]


def test_a_changed_header_is_stored_as_changed(tmp_path: Path) -> None:
    content = Content.from_bytes(CONTENT)
    content.header.add("X-Seen", "yes")
    MaildirStore(tmp_path, HOSTNAME).put([tmp_path], b"", content)
    assert files(tmp_path)[0].read_bytes() == CONTENT.replace(b"\r\n\r\n", b"\r\nX-Seen: yes\r\n\r\n")
