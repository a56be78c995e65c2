"""Servers for real clients: with a certificate, and users who can log in."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from argon2 import PasswordHasher

from tests.process.test_serve import MAILDIR
from tests.served import PATIENCE_S, Served, serving

KEEP = """
from pathlib import Path

from harakapy import OK, Plugin, hookimpl


class Keep(Plugin):
    @hookimpl
    def hook_queue_outbound(self, connection):
        folder = Path("kept")
        folder.mkdir(exist_ok=True)
        transaction = connection.transaction
        (folder / transaction.uuid).write_bytes(b"".join(transaction.content.blocks()))
        return OK
"""
"""A plugin that keeps what users send in files, whomever it is for."""

USER, PASSWORD = "ann@example.com", "correct horse"
CERTIFICATE = "[[tls.certificates]]\ncertificate = 'server.crt'\nkey = 'server.key'\n"


@dataclass(frozen=True)
class Submission:
    """A server on which users log in, and the file of the authority behind its certificate."""

    served: Served
    authority: Path
    is_implicit: bool

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.served.port

    def message(self) -> bytes:
        """The one message that came."""
        (file,) = (self.served.folder / "kept").iterdir()
        return file.read_bytes()


def program(name: str) -> str:
    """The path of a program; the test is skipped without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed, or not in PATH")
    return path


def run(
    *command: str, timeout_s: float = PATIENCE_S, folder: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a folder; ``more`` are variables of its environment beside PATH."""
    environment = {**os.environ, **more}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment, cwd=folder
    )


@pytest.fixture
def folder_with_certificate(tmp_path: Path) -> Path:
    """A folder with a certificate for localhost, its key, and the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    return tmp_path


@pytest.fixture
def serve(folder_with_certificate: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers with a certificate, given the lines of a ``[[listen]]`` table and more of everything."""
    with ExitStack() as stack:

        def start(listen: str, more: str = "", before: str = MAILDIR) -> Served:
            table = f"[[listen]]\naddress = '127.0.0.1:0'\n{listen}\n"
            configuration = before + table + CERTIFICATE + more
            return stack.enter_context(serving(folder_with_certificate, configuration, listens=False))

        yield start


@pytest.fixture(params=["starttls", "implicit"])
def submission(
    request: pytest.FixtureRequest, serve: Callable[..., Served], folder_with_certificate: Path
) -> Submission:
    """A listener for users; TLS begins as the parameter says."""
    (folder_with_certificate / "users").write_text(f"{USER}:{PasswordHasher().hash(PASSWORD)}\n")
    (folder_with_certificate / "keep.py").write_text(KEEP)
    before = 'hostname = "mx.test"\nplugins = ["auth_flat_file", "keep.py"]\n'
    served = serve(f"tls = '{request.param}'\nrole = 'submission'", before=before)
    return Submission(served, folder_with_certificate / "authority.pem", request.param == "implicit")
