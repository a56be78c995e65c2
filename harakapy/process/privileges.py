"""Giving up the rights of root, once what needs them is done.

Whoever starts as root binds low ports and reads keys; then the process becomes the user of the settings for
good. What it writes before that, such as the log, it opens as that user: root must not follow links in a
folder where somebody else may put some.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from harakapy.config import ConfigError, Problem, Settings

__all__ = ["Identity", "NotPermitted", "acting_as", "drop_privileges", "identity_of", "named_group"]

ROOT = 0


class NotPermitted(PermissionError):
    """The process cannot become that user; the message says why."""


class Identity(Struct, frozen=True):
    """A user to run as, with all his groups, the first of which is that of new files."""

    user: str
    uid: int
    groups: tuple[int, ...]

    @property
    def is_ours(self) -> bool:
        """Whether we run as that user already, and as nobody else."""
        return set(os.getresuid()) == {self.uid}


def identity_of(settings: Settings) -> Identity | None:
    """Whom the settings want us to run as; None if they name nobody. Raises ConfigError."""
    if not settings.user:
        if settings.group:
            raise ConfigError([Problem(settings.file, "group", "needs a user, too")])
        return None
    entry = _user(settings)
    if settings.group:
        return Identity(entry.pw_name, entry.pw_uid, (named_group(settings, "group", settings.group),))
    groups = [entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)]
    return Identity(entry.pw_name, entry.pw_uid, tuple(dict.fromkeys(groups)))


def drop_privileges(identity: Identity | None) -> None:
    """Become that user, without a way back; nothing if there is none, or we are he.

    Raises NotPermitted unless we are root.
    """
    if identity is None or identity.is_ours:
        return
    if os.geteuid() != ROOT:
        raise NotPermitted(
            f"only root can run a server as user {identity.user}; be root, or leave user empty"
        )
    os.setgroups(identity.groups)
    os.setgid(identity.groups[0])
    os.setuid(identity.uid)
    assert identity.is_ours, "the rights of root were given up, and are still there"


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Be that user while the block lasts, if we are root; before other threads begin."""
    if identity is None or os.geteuid() != ROOT:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(identity.groups)
    os.setegid(identity.groups[0])
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(group)
        os.setgroups(groups)


def _user(settings: Settings) -> pwd.struct_passwd:
    name = settings.user
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        problem = Problem(settings.file, "user", "this machine has no such user", given=f'"{name}"')
        raise ConfigError([problem]) from None


def named_group(settings: Settings, key: str, name: str) -> int:
    """The number of a group that the settings name under this key. Raises ConfigError."""
    try:
        return (grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)).gr_gid
    except KeyError:
        problem = Problem(settings.file, key, "this machine has no such group", given=f'"{name}"')
        raise ConfigError([problem]) from None
