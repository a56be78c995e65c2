"""`harakapy send` in the place of /usr/sbin/sendmail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from harakapy.cli.main import main
from harakapy.cli.send.options import WrongUse, parse_options
from harakapy.cli.send.text import HeaderTooLarge, split_header, text_blocks, until_dot
from harakapy.log import silent_logger
from harakapy.queue import DeliveryRequest, Selection, SqliteStore
from harakapy.smtp import Body
from harakapy.smtp.dsn import Notify, Ret
from tests.cli.test_queue import Ear, running
from tests.served import environment

__all__ = ["running"]

MESSAGE = b"To: a@example.org\nSubject: hello\n\nbody\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "harakapy.toml"
    file.write_text("hostname = 'mx.test'\n")
    return file


def send(file: Path, *arguments: str, message: bytes = MESSAGE) -> Result:
    return CliRunner().invoke(main, ["send", "--config", str(file), *arguments], input=message)


def stored(file: Path) -> list[tuple[DeliveryRequest, bytes]]:
    """What is in the queue, with its content."""

    async def read() -> list[tuple[DeliveryRequest, bytes]]:
        async with await SqliteStore.open(file.parent / "state/queue", log=silent_logger()) as store:
            found = []
            for request in (await store.select(Selection(), limit=100)).requests:
                with await store.open_content(request.message.id) as content:
                    found.append((request, b"".join(content.blocks())))
            return found

    return trio.run(read)


def sent(file: Path, *arguments: str, message: bytes = MESSAGE) -> tuple[DeliveryRequest, str]:
    """The message that is in the queue after sending one."""
    result = send(file, *arguments, message=message)
    assert (result.exit_code, result.output) == (0, "")
    ((request, content),) = stored(file)
    return request, content.decode()


def recipients(request: DeliveryRequest) -> list[str]:
    return [each.recipient.address.original for each in request.deliveries]


def test_a_message_is_in_the_queue_when_the_command_ends(file: Path) -> None:
    request, content = sent(file, "-f", "me@example.com", "a@example.org", "b@example.net")
    assert request.message.mail_from.original == "me@example.com"
    assert recipients(request) == ["a@example.org", "b@example.net"]
    assert [each.destination for each in request.deliveries] == ["example.org", "example.net"]
    fields, _, body = content.partition("\r\n\r\n")
    assert body == "body\r\n"
    unfolded = fields.replace("\r\n\t", " ").split("\r\n")
    assert [field.partition(":")[0] for field in unfolded] == [
        "Received", "To", "Subject", "From", "Date", "Message-ID",
    ]  # fmt: skip
    assert re.match(
        rf"Received: by mx\.test \(harakapy, from userid {os.getuid()}\) id {request.message.id};",
        unfolded[0],
    )
    assert unfolded[3].endswith("me@example.com>") or unfolded[3] == "From: me@example.com"
    assert unfolded[5] == f"Message-ID: <{request.message.id}@mx.test>"


def test_fields_that_are_there_stay(file: Path) -> None:
    fields = "From: x@example.com\r\nDate: then\r\nMessage-ID: <1@example.com>\r\n"
    _, content = sent(file, "a@example.org", message=fields.encode() + b"\r\n")
    assert content.endswith(fields + "\r\n")


def test_recipients_come_from_the_header_and_bcc_goes(file: Path) -> None:
    message = (
        b"To: A <a@example.org>,\n b@example.org\nCc: team: c@example.org;\n"
        b"Bcc: d@example.org,\n\tx@example.org\n\nbody\n"
    )
    request, content = sent(file, "-t", "-i", "a@example.org", "e@example.org", message=message)
    assert recipients(request) == [f"{each}@example.org" for each in "aebcdx"]
    assert "Bcc" not in content
    assert "d@example.org" not in content
    assert "x@example.org" not in content


def test_bcc_goes_without_t_too(file: Path) -> None:
    _, content = sent(file, "a@example.org", message=b"Bcc: d@example.org\nSubject: x\n\nbody\n")
    assert "d@example.org" not in content


def test_a_message_sent_on_goes_to_its_new_recipients(file: Path) -> None:
    message = b"To: old@example.org\nResent-To: new@example.org\nResent-Bcc: hidden@example.org\n\n"
    request, content = sent(file, "-t", message=message)
    assert recipients(request) == ["new@example.org", "hidden@example.org"]
    assert "hidden" not in content


def test_names_without_a_domain_are_on_this_host(file: Path) -> None:
    request, _ = sent(file, "-f", "cron", "-t", "root", message=b"To: Jane <jane>, postmaster\n\n")
    assert recipients(request) == ["root@mx.test", "jane@mx.test", "postmaster@mx.test"]
    assert request.message.mail_from.original == "cron@mx.test"


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_reverse_path_can_be_given(file: Path, null: str) -> None:
    request, content = sent(file, "-f", null, "-F", "", "a@example.org")
    assert request.message.mail_from.is_null
    assert "MAILER-DAEMON@mx.test" in content


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Jane Doe", "From: Jane Doe <me@example.com>"),
        ('Doe, "J" \\', 'From: "Doe, \\"J\\" \\\\" <me@example.com>'),
        ("Jürgen", "From: =?utf-8?q?J=C3=BCrgen?= <me@example.com>"),
        ("a\r\nBcc: x@example.org", 'From: "a  Bcc: x@example.org" <me@example.com>'),
    ],
)
def test_a_full_name_is_in_from(file: Path, name: str, field: str) -> None:
    _, content = sent(file, "-F", name, "-fme@example.com", "a@example.org")
    assert field in content.split("\r\n")


def test_reports_can_be_asked_for(file: Path) -> None:
    request, _ = sent(file, "-N", "success,delay", "-R", "hdrs", "-V", "QQ=1", "a@example.org")
    assert request.deliveries[0].recipient.params.notify == frozenset({Notify.SUCCESS, Notify.DELAY})
    assert request.message.params.ret is Ret.HDRS
    assert request.message.params.envid == "QQ=1"


def test_eight_bit_content_and_addresses_are_declared(file: Path) -> None:
    request, content = sent(file, "jürgen@bücher.example", message="\n\nKöln\n".encode())
    assert request.message.params.body is Body.EIGHTBITMIME
    assert request.message.params.smtputf8
    assert request.deliveries[0].domain == "xn--bcher-kva.example"
    assert content.endswith("\r\n\r\n\r\nKöln\r\n")


def test_an_address_outside_ascii_stays_one_in_from(file: Path) -> None:
    _, content = sent(file, "-F", "J", "-f", "jürgen@example.com", "a@example.org")
    assert "\r\nFrom: J <jürgen@example.com>\r\n" in content


@pytest.mark.parametrize(
    ("message", "fields", "body"),
    [
        (b"", "", ""),
        (b"no header here", "", "no header here\r\n"),
        (b"\nno header here\n", "", "no header here\r\n"),
        (b"Subject: x\nno field\n", "Subject: x", "no field\r\n"),
        (b"Subject: x", "Subject: x", ""),
        (b"From me Sun Nov 22\nSubject: x\n\nbody\n", "Subject: x", "body\r\n"),
        (b"Subject: x\r\n y\r\n\r\nbody\r\n", "Subject: x\r\n y", "body\r\n"),
        (b"Subject: x\r\rb\0ody\r", "Subject: x", "body\r\n"),
        (b"Subject: x\n\n\n\nbody\n.\nlost\n", "Subject: x", "\r\n\r\nbody\r\n"),
        (b"\n.\n", "", ""),
        (b"\nlast\n.", "", "last\r\n"),
        (b".\n", "", ""),
    ],
)
def test_texts_that_are_hardly_messages_become_some(
    file: Path, message: bytes, fields: str, body: str
) -> None:
    _, content = sent(file, "a@example.org", message=message)
    header, _, found = content.partition("\r\n\r\n")
    assert found == body
    assert fields in header


@pytest.mark.parametrize("option", ["-i", "-oi", "-ti", "-oitrue"])
def test_a_lone_dot_can_be_passed(file: Path, option: str) -> None:
    _, content = sent(file, option, "b@example.org", message=MESSAGE + b".\nrest\n")
    assert content.endswith("body\r\n.\r\nrest\r\n")


def test_a_large_message_is_stored_whole(file: Path) -> None:
    body = b"0123456789abcdef" * 4 + b"\n"
    _, content = sent(file, "-t", message=MESSAGE + body * 20_000)
    assert content.endswith("body\r\n" + (body.decode().replace("\n", "\r\n") * 20_000))


@pytest.mark.parametrize(
    ("arguments", "message", "status", "text"),
    [
        ([], MESSAGE, os.EX_USAGE, "nobody is to get it"),
        (["-t"], b"Subject: x\n\n", os.EX_USAGE, "nobody is to get it"),
        (["-bs"], MESSAGE, os.EX_USAGE, "-bs"),
        (["-bp"], MESSAGE, os.EX_USAGE, "harakapy queue list"),
        (["-q15m"], MESSAGE, os.EX_USAGE, "harakapy queue flush"),
        (["--frobnicate", "a@example.org"], MESSAGE, os.EX_USAGE, "--frobnicate"),
        (["-f"], MESSAGE, os.EX_USAGE, "-f needs a value"),
        (["-v", "-c", "other.toml", "a@example.org"], MESSAGE, os.EX_USAGE, "before all other options"),
        (["-N", "sometimes", "a@example.org"], MESSAGE, os.EX_USAGE, "-N sometimes"),
        (["-R", "all", "a@example.org"], MESSAGE, os.EX_USAGE, "full or hdrs"),
        (["-V", "x" * 200, "a@example.org"], MESSAGE, os.EX_USAGE, "-V"),
        (["a@example.org", "two@ats@example.org"], MESSAGE, os.EX_DATAERR, "two@ats@example.org"),
        (["-f", "a@b, c@d", "a@example.org"], MESSAGE, os.EX_DATAERR, "not one address"),
        (["-t"], b"To: a@exa mple.org\n\n", os.EX_DATAERR, "cannot be read"),
        (["a@example.org"], b"x" * 2_000_000, os.EX_DATAERR, "more than 1048576 octets"),
        (["a@example.org"], b"X: " + b"x" * 200_000 + b"\n\n", os.EX_DATAERR, "the header"),
        (["a@example.org"], b"X: y\n" * 50_000, os.EX_DATAERR, "the header"),
    ],
)
def test_failures_have_the_exit_status_that_programs_know(
    file: Path, arguments: list[str], message: bytes, status: int, text: str
) -> None:
    file.write_text("hostname = 'mx.test'\n[smtp]\nmax_message_size = '1 MiB'\n")
    result = send(file, *arguments, message=message)
    assert result.exit_code == status, result.output
    assert text in result.stderr
    assert "was not sent" in result.stderr
    assert not (file.parent / "state/queue").exists()


def test_a_full_disk_means_later(file: Path) -> None:
    file.write_text("hostname = 'mx.test'\n[queue]\nmin_free_space = '100000 TiB'\n")
    result = send(file, "a@example.org")
    assert result.exit_code == os.EX_TEMPFAIL


def test_a_queue_that_cannot_be_opened_means_later(file: Path) -> None:
    (file.parent / "state").write_text("in the way")
    assert send(file, "a@example.org").exit_code == os.EX_TEMPFAIL


def test_a_broken_configuration_is_told_as_one(file: Path) -> None:
    file.write_text("hostnam = 'mx.test'\n")
    result = send(file, "a@example.org")
    assert result.exit_code == os.EX_CONFIG
    assert "hostname" in result.stderr


def test_wrong_use_of_our_own_options_is_wrong_use_as_well() -> None:
    result = CliRunner().invoke(main, ["send", "--config"])
    assert result.exit_code == os.EX_USAGE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_configuration_may_be_named_as_for_all_commands(file: Path) -> None:
    result = CliRunner().invoke(main, ["send", "-c", str(file), "a@example.org"], input=MESSAGE)
    assert (result.exit_code, result.output) == (0, "")
    ((request, _),) = stored(file)
    assert recipients(request) == ["a@example.org"]


def test_who_may_not_write_to_the_queue_is_not_permitted(file: Path) -> None:
    public = Path(tempfile.mkdtemp())
    public.chmod(0o755)
    file = file.rename(public / file.name)
    (public / "state").mkdir(0o700)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            status = send(file, "a@example.org").exit_code
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == os.EX_NOPERM
    shutil.rmtree(public)


def test_the_running_server_hears_of_it(running: tuple[Path, Ear]) -> None:
    file, ear = running
    assert send(file, "a@example.org").exit_code == 0
    assert ear.heard == ["wake"]
    assert len(stored(file)) == 1


def test_verbose_tells_the_id(file: Path) -> None:
    result = send(file, "-v", "a@example.org")
    assert result.stdout == f"queued as {stored(file)[0][0].message.id}\n"


def test_it_stands_in_for_sendmail_as_a_process(file: Path) -> None:
    wrapper = file.parent / "sendmail"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m harakapy send "$@"\n')
    wrapper.chmod(0o755)
    variables = environment(file.parent, HARAKAPY_CONFIG=str(file))
    command = [str(wrapper), "-oi", "-t", "-f", "me@example.com", "--", "-dash@example.org"]
    subprocess.run(command, input=MESSAGE, env=variables, check=True, timeout=60)
    ((request, _),) = stored(file)
    assert recipients(request) == ["-dash@example.org", "a@example.org"]


def test_options_are_read_as_sendmail_reads_them() -> None:
    options = parse_options(
        ["-bm", "-em", "-odb", "-o", "i", "-O", "Timeout=1", "-B8BITMIME", "-X", "log", "-h5",
         "-tvFJane Doe", "-d0.4", "-Gn", "-rme@example.com", "a@example.org", "-t"]
    )  # fmt: skip
    assert options.are_recipients_in_header
    assert not options.is_dot_end
    assert options.is_verbose
    assert (options.sender, options.full_name) == ("me@example.com", "Jane Doe")
    assert options.recipients == ["a@example.org", "-t"]


@given(words=st.lists(st.text(st.sampled_from("-abfioqtvN x@."), max_size=6), max_size=5))
def test_any_command_line_is_read_or_wrong_use(words: list[str]) -> None:
    try:
        options = parse_options([*words, "--", "--", "-x"])  # the first one may be the value of an option
    except WrongUse:
        return
    assert options.recipients[-1] == "-x"


def _cut(octets: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({min(place, len(octets)) for place in places} | {0, len(octets)})
    return [octets[begin:end] for begin, end in pairwise(cuts)]


_TEXTS = st.lists(
    st.sampled_from([b"\n", b"\r", b".", b"a", b"X: y", b" ", b"\0", b"\n.\n", b"\r\n"]), max_size=12
).map(b"".join)
_PLACES = st.lists(st.integers(0, 40), max_size=8)


@given(text=_TEXTS, places=_PLACES)
def test_how_the_input_is_cut_changes_nothing(text: bytes, places: list[int]) -> None:
    def read(blocks: list[bytes]) -> tuple[bytes, bytes]:
        header, body = split_header(text_blocks(until_dot(blocks)), 0)
        return header, b"".join(body)

    header, body = read(_cut(text, places))
    assert (header, body) == read([text])
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", header + body)
    assert all((part == b"" or part.endswith(b"\r\n")) for part in (header, body))


@given(text=_TEXTS, places=_PLACES)
def test_a_dot_ends_the_text_where_a_reader_of_lines_sees_it(text: bytes, places: list[int]) -> None:
    lines = text.splitlines(keepends=True) if b"\r" not in text else None
    found = b"".join(until_dot(_cut(text, places)))
    assert text.startswith(found)
    if lines is not None:
        ends = [line.rstrip(b"\n") == b"." for line in lines]
        assert found == b"".join(lines[: ends.index(True)] if True in ends else lines)


def test_a_header_over_the_limit_is_refused_in_bounded_memory() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"X: y\r\n" * 100

    with pytest.raises(HeaderTooLarge):
        split_header(endless(), 10_000)
    assert taken < 30
