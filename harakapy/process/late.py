"""What a server needs soon after its start and not for it, and would hold up if it were there at the start.

To import these takes as long as to import harakapy itself. Each is imported within the function that needs
it if that comes first; else it is done here, once clients are accepted, so that none of them waits for it
either. All imports within functions are here: who has given up rights may not be able to do them any more.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Final

import trio

__all__ = ["import_late", "import_late_in_thread"]

LATE: Final = (
    "harakapy.net.stub",  # dnspython: the first name that is looked up
    "harakapy.net.tls.leaf",  # the cryptography package: the first session over TLS
    "harakapy.outbound.session",  # the client side of SMTP: the first host that is called
    "harakapy.inbound.login",  # SASL: the first client that logs in
    "harakapy.mail.mailbox",  # the first message whose author a plugin asks for
    "harakapy.mail.report",  # the first message that cannot be delivered
    "harakapy.outbound.steered",  # the first operator who looks at the queue
    "harakapy.process.control",
    "harakapy.net.proxy_protocol",  # the first client that comes through a proxy
    "harakapy.outbound.login_check",  # the first password that another server is asked about
    "email.policy",  # the first message that a plugin has made with Python's email package
)

AT_THE_DOOR_S: Final = 0.1
"""How long it waits, so that who has waited for us to start is not held up by it. Picked: some greetings."""


def import_late() -> None:
    """Import all of it, for who forks, as workers share its memory, or who is about to give up rights."""
    for name in LATE:
        import_module(name)


async def import_late_in_thread() -> None:
    """Import all of it while the event loop goes on. Once begun it is waited for, even if this is cancelled.

    A process that ends meanwhile may abort: its threads are ended wherever they are, within native code too.
    What fails now, for want of file descriptors perhaps, is imported again by who needs it, and told there.
    """
    await trio.sleep(AT_THE_DOOR_S)
    with suppress(ImportError, OSError):
        await trio.to_thread.run_sync(import_late)
