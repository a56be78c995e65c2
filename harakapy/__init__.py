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
from harakapy.process import Server
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
    "NEXT_HOOK", "OK", "Action", "Address", "ConfigError", "Connection", "Content", "CramMd5Credentials",
    "Credentials", "Duration", "ExternalCredentials", "Header", "Level", "ListFile", "ListenSettings",
    "LogRecord", "Logger", "MailParameters", "Network", "Notes", "PasswordCredentials", "PatternFile",
    "Plugin", "PluginConfig", "Problem", "RcptParameters", "Reply", "Results", "ScramCredentials",
    "ScramSecret", "Server", "Settings", "Size", "TableFile", "TokenCredentials", "Transaction", "Verdict",
    "hookimpl", "return_path_field", "to_ascii",
]  # fmt: skip
