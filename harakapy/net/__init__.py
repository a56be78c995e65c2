"""trio and sockets: listeners, streams, deadlines, limits and DNS. Knows nothing of mail."""

from .acceptor import AcceptLog, Handler, serve
from .answers import DnsError, NameNotFound, NoData, TemporaryDnsError
from .count_board import CountBoard
from .deadline import Deadline, Watchdog
from .endpoint import Endpoint, EndpointError
from .limits import ConnectionLimits, Refusal
from .listener import Listener, ListenError, open_listeners
from .poller import Poller
from .pump import Pump, current_pump, enter_task, inline_pump, leave_task
from .resolver import MailExchange, Resolver
from .shared_limits import SharedLimits
from .stream import SocketAddress, SocketStream

__all__ = [
    "AcceptLog",
    "ConnectionLimits",
    "CountBoard",
    "Deadline",
    "DnsError",
    "Endpoint",
    "EndpointError",
    "Handler",
    "ListenError",
    "Listener",
    "MailExchange",
    "NameNotFound",
    "NoData",
    "Poller",
    "Pump",
    "Refusal",
    "Resolver",
    "SharedLimits",
    "SocketAddress",
    "SocketStream",
    "TemporaryDnsError",
    "Watchdog",
    "current_pump",
    "enter_task",
    "inline_pump",
    "leave_task",
    "open_listeners",
    "serve",
]
