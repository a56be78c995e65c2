"""harakapy: an extensible mail transfer agent.

This is the public API: what plugins and programs that embed the server are written against.
"""

from harakapy.config import (
    ConfigError,
    Duration,
    ListenSettings,
    ListFile,
    Network,
    PatternFile,
    Problem,
    Settings,
    Size,
    TableFile,
)
from harakapy.hooks import (
    CONT,
    DELAY,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    DISCONNECT,
    HOOK_NEXT,
    NEXT_HOOK,
    OK,
    Action,
    Notes,
    Plugin,
    PluginConfig,
    Results,
    Verdict,
    hookimpl,
)
from harakapy.inbound import Connection, Transaction
from harakapy.log import Level, Logger, LogRecord
from harakapy.mail import Content, Header, to_ascii
from harakapy.mail.trace import return_path_field
from harakapy.net import Endpoint
from harakapy.outbound import (
    Bounce,
    Deferral,
    DomainPattern,
    Ending,
    Handover,
    HMail,
    LoginAnswer,
    LoginCheck,
    NextHop,
    NextHopRoutes,
    NextHopTable,
    NextHopUrls,
    TlsLevel,
    Way,
    domain_patterns,
)
from harakapy.process import Server
from harakapy.queue import MemoryStore, StoreError, StoreFull, StoreUnavailable
from harakapy.smtp import Address, MailParameters, RcptParameters, Reply
from harakapy.smtp.sasl import (
    CramMd5Credentials,
    Credentials,
    ExternalCredentials,
    PasswordCredentials,
    ScramCredentials,
    ScramSecret,
    TokenCredentials,
)

__all__ = [
    "CONT", "DELAY", "DENY", "DENYDISCONNECT", "DENYSOFT", "DENYSOFTDISCONNECT", "DISCONNECT", "HOOK_NEXT",
    "NEXT_HOOK", "OK", "Action", "Address", "Bounce", "ConfigError", "Connection", "Content",
    "CramMd5Credentials", "Credentials", "Deferral", "DomainPattern", "Duration", "Ending", "Endpoint",
    "ExternalCredentials", "HMail", "Handover", "Header", "Level", "ListFile", "ListenSettings",
    "LogRecord", "Logger", "LoginAnswer", "LoginCheck", "MailParameters", "MemoryStore", "Network", "NextHop",
    "NextHopRoutes", "NextHopTable",
    "NextHopUrls", "Notes", "PasswordCredentials", "PatternFile", "Plugin", "PluginConfig", "Problem",
    "RcptParameters", "Reply", "Results", "ScramCredentials", "ScramSecret", "Server", "Settings", "Size",
    "StoreError", "StoreFull", "StoreUnavailable", "TableFile", "TlsLevel", "TokenCredentials",
    "Transaction", "Verdict", "Way", "domain_patterns", "hookimpl", "return_path_field", "to_ascii",
]  # fmt: skip
