"""Mail servers of others that take mail from us, each with a folder and a configuration of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.parser import BytesHeaderParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.served import PATIENCE_S

DOMAIN = "example.com"
MAX_OCTETS = 20_000_000
POLL_S = 0.05


class MailServer(ABC):
    """A server that keeps what it takes for `DOMAIN` in Maildirs, one file for each recipient."""

    name: str
    scheme = "smtp"
    has_smtputf8 = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()

    @property
    def hop(self) -> str:
        """Where it takes mail."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """Write its configuration; what runs it until it is ended. Skips the test if it cannot run here."""

    def copies(self, subject: str) -> list[bytes]:
        """What arrived with this subject, lines ending with LF, once for each recipient."""
        marked = f"\nSubject: {subject}\n".encode()
        files = (self.folder / "mail").glob("**/new/*")
        contents = [file.read_bytes().replace(b"\r\n", b"\n") for file in files]
        return [each for each in contents for _ in range(self.recipients(each)) if marked in each]

    def recipients(self, content: bytes) -> int:
        """For how many recipients such a file is."""
        return 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run, and end it by its id."""
        with (self.folder / "output").open("wb") as output:
            process = subprocess.Popen(self.command(), stdout=output, stderr=output, cwd=self.folder)
            try:
                self._wait_until_it_answers(process)
                yield
            finally:
                process.terminate()
                process.wait(PATIENCE_S)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            said = (self.folder / "output").read_text(errors="replace")
            assert process.poll() is None, f"{self.name} has ended: {said}"
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(PATIENCE_S)
                assert connection.recv(1000).startswith(b"220"), self.name
                return
            time.sleep(POLL_S)
        raise AssertionError(f"{self.name} does not answer")


class Postfix(MailServer):
    """An instance beside the one of the system."""

    name = "Postfix"

    def command(self) -> list[str]:
        """The master process, from our folders."""
        found("postfix", "apt-get install postfix")
        needs_root("its master process starts as root")
        daemons = said("postconf", "-h", "daemon_directory")
        config = self.folder / "config"
        for folder in ("config", "queue", "data", "mail"):
            (self.folder / folder).mkdir()
        for folder in ("data", "mail"):
            shutil.chown(self.folder / folder, "postfix", "postfix")
        uid = (self.folder / "mail").stat().st_uid
        write(config / "main.cf", {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "queue",
            "data_directory": self.folder / "data",
            "daemon_directory": daemons,
            "maillog_file": self.folder / "log",
            "maillog_file_prefixes": self.folder,
            "myhostname": "postfix.test",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "message_size_limit": MAX_OCTETS,
            "mailbox_size_limit": 0,
            "virtual_mailbox_limit": 0,
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_base": self.folder,
            "virtual_mailbox_maps": "static:mail/",
            "virtual_uid_maps": f"static:{uid}",
            "virtual_gid_maps": f"static:{uid}",
            "virtual_minimum_uid": 1,
            "smtputf8_enable": "yes",
            "smtpd_tls_security_level": "none",
        })  # fmt: skip
        (config / "master.cf").write_text(POSTFIX_SERVICES.format(port=self.port))
        said("postfix", "-c", str(config), "check")  # makes the folders of the queue
        return [f"{daemons}/master", "-c", str(config), "-d"]


POSTFIX_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Exim(MailServer):
    """The daemon in the foreground."""

    name = "Exim"

    def command(self) -> list[str]:
        """The daemon, which delivers to a Maildir as the user that it was built for."""
        exim = found("exim4" if shutil.which("exim4", path=SEARCHED) else "exim", "apt-get install exim4")
        needs_root("it starts as root")
        user = said(exim, "-C", "/dev/null", "-bP", "exim_user").partition(" = ")[2]
        for folder in ("spool", "mail", "log"):
            (self.folder / folder).mkdir()
            shutil.chown(self.folder / folder, int(user) if user.isdecimal() else user)
        config = self.folder / "exim.conf"
        config.write_text(
            EXIM.format(folder=self.folder, port=self.port, exim=exim, user=user, size=MAX_OCTETS)
        )
        return [exim, "-C", str(config), "-bdf"]


EXIM = """\
primary_hostname = exim.test
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/spool/pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
message_size_limit = {size}
smtputf8_advertise_hosts = *
tls_advertise_hosts =
chunking_advertise_hosts = *
deliver_drop_privilege = true
acl_smtp_rcpt = accept_all
keep_environment =
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
recipients_max = 1000
rfc1413_query_timeout = 0s
begin acl
accept_all:
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = {user}
begin retry
* * F,1h,1m
"""


class Aiosmtpd(MailServer):
    """The one for Python programs, as a program."""

    name = "aiosmtpd"

    def command(self) -> list[str]:
        """Its command line; its Mailbox writes one file for each message."""
        if find_spec("aiosmtpd") is None:
            pytest.skip("aiosmtpd is not installed: pip install aiosmtpd")
        return [
            sys.executable, "-m", "aiosmtpd", "--nosetuid", "--smtputf8", "--size", str(MAX_OCTETS),
            "--listen", f"127.0.0.1:{self.port}", "--class", "aiosmtpd.handlers.Mailbox",
            str(self.folder / "mail"),
        ]  # fmt: skip

    def recipients(self, content: bytes) -> int:
        """It writes them into the header, as one encoded word if they are not ASCII."""
        return str(BytesHeaderParser().parsebytes(content)["X-RcptTo"]).count(",") + 1


class DovecotLmtp(MailServer):
    """Dovecot's LMTP server, which lets every user be there."""

    name = "Dovecot"
    scheme = "lmtp"
    has_smtputf8 = False  # Dovecot 2.3

    def command(self) -> list[str]:
        """The master process in the foreground."""
        dovecot = found("dovecot", "apt-get install dovecot-lmtpd")
        needs_root("its master process starts as root")
        if not Path("/usr/lib/dovecot/lmtp").exists() and not Path("/usr/libexec/dovecot/lmtp").exists():
            pytest.skip("Dovecot has no LMTP server: apt-get install dovecot-lmtpd")
        (self.folder / "mail").mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        config = self.folder / "dovecot.conf"
        config.write_text(
            DOVECOT.format(folder=self.folder, port=self.port, uid=nobody.pw_uid, gid=nobody.pw_gid)
        )
        return [dovecot, "-F", "-c", str(config)]


DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:{folder}/mail/%n
first_valid_uid = 1
first_valid_gid = 1
lmtp_rcpt_check_quota = no
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener lmtp {{
    mode = 0600
  }}
}}
"""


SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


def found(program: str, install: str) -> str:
    """The path of a program; the test is skipped without it."""
    path = shutil.which(program, path=SEARCHED)
    if path is None:
        pytest.skip(f"{program} is not installed: {install}")
    return path


def needs_root(why: str) -> None:
    """Skip the test for other users."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root: {why}")


def said(*command: str) -> str:
    """What a program writes."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout.strip()


def write(path: Path, parameters: Mapping[str, object]) -> None:
    """Write a file of ``name = value`` lines."""
    path.write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
