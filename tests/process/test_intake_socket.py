"""The socket for this machine's users: where it is, and who may write to it."""

from __future__ import annotations

import grp
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harakapy import ConfigError, Server, Settings
from harakapy.net import ListenError
from harakapy.process.intake_socket import INTAKE, open_intake
from harakapy.process.sockets import Sockets

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to any group")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def settings_in(folder: Path, **send: str) -> Settings:
    return Settings.default(state_dir=str(folder), listen=[], send=send)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_may_write_to_it_and_enter_its_folder_whatever_the_umask_is(folder: Path) -> None:
    mask = os.umask(0o077)
    try:
        listener = open_intake(settings_in(folder))
    finally:
        os.umask(mask)
    assert mode_of(folder / "public") == 0o755
    assert mode_of(folder / "public/send") == 0o666
    listener.close()
    assert not (folder / "public/send").exists()


def test_a_folder_that_is_there_stays_as_it_is(folder: Path) -> None:
    (folder / "own").mkdir(0o750)
    with open_intake(settings_in(folder, socket="own/send")).socket:
        assert mode_of(folder / "own") == 0o750


@needs_root
def test_it_can_be_for_a_group(folder: Path) -> None:
    group = grp.getgrgid(65534)
    with open_intake(settings_in(folder, socket_mode="0660", socket_group=group.gr_name)).socket:
        status = (folder / "public/send").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, group.gr_gid)


def test_a_group_that_is_none_is_told_before_anything_starts(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no such group"):
        Server(settings_in(folder, socket_group="no-such-group"))


def test_a_long_path_can_be_used(folder: Path) -> None:
    listener = open_intake(settings_in(folder, socket=f"{'long' * 30}/send"))
    assert Path(listener.endpoint.path).is_socket()
    listener.close()
    assert not Path(listener.endpoint.path).exists()


def test_two_servers_cannot_have_it(folder: Path) -> None:
    with open_intake(settings_in(folder)).socket, pytest.raises(ListenError, match="public/send"):
        open_intake(settings_in(folder))


def test_where_no_folder_can_be_made_the_setting_is_named(folder: Path) -> None:
    (folder / "public").write_text("in the way")
    with pytest.raises(ListenError, match=r"\[send\] socket"):
        open_intake(settings_in(folder))


def test_all_workers_have_it_and_it_is_taken_over_with_a_new_mode(folder: Path) -> None:
    before = Sockets.open(settings_in(folder), has_intake=True)
    assert before.endpoints == ()
    for worker in range(3):
        ((number, listener),) = before.share_of(worker, 3)
        assert number == INTAKE
    restored = Sockets.restored([*before.described()])
    listener.socket.detach()  # as exec does
    again = Sockets.open(settings_in(folder, socket_mode="0600"), before=restored, has_intake=True)
    assert mode_of(folder / "public/send") == 0o600
    moved = Sockets.open(settings_in(folder, socket="elsewhere/send"), before=again, has_intake=True)
    assert not (folder / "public/send").exists()
    assert (folder / "elsewhere/send").is_socket()
    (folder / "elsewhere/send").unlink()
    found = Sockets.open(settings_in(folder, socket="elsewhere/send"), before=moved, has_intake=True)
    assert (folder / "elsewhere/send").is_socket()
    found.close()


def test_a_server_that_a_program_has_for_a_while_has_none(folder: Path) -> None:
    server = Server(settings_in(folder))
    with server._listening() as listeners:
        assert listeners == []
