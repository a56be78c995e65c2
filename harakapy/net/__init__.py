"""trio and sockets: listeners, streams, deadlines, limits and DNS. Knows nothing of mail."""

from .acceptor import AcceptLog, Handler, serve
from .answers import DnsError, NameNotFound, NoData, TemporaryDnsError
from .deadline import Deadline, Watchdog
from .endpoint import Endpoint, EndpointError
from .limits import ConnectionLimits, Refusal
from .listener import Listener, ListenError, open_listeners
from .resolver import MailExchange, Resolver
from .stream import SocketAddress, SocketStream

__all__ = [
    "AcceptLog",
    "ConnectionLimits",
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
    "Refusal",
    "Resolver",
    "SocketAddress",
    "SocketStream",
    "TemporaryDnsError",
    "Watchdog",
    "open_listeners",
    "serve",
]
