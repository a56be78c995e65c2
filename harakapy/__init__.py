"""harakapy: an extensible mail transfer agent.

This is the public API: what plugins and programs that embed the server are written against.
"""

from harakapy.config import ConfigError, Duration, ListFile, Network, PatternFile, Problem, Settings, Size
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

__all__ = [
    "CONT", "DELAY", "DENY", "DENYDISCONNECT", "DENYSOFT", "DENYSOFTDISCONNECT", "DISCONNECT", "HOOK_NEXT",
    "NEXT_HOOK", "OK", "Action", "Address", "ConfigError", "Connection", "Content", "Duration", "Header",
    "Level", "ListFile", "LogRecord", "Logger", "MailParameters", "Network", "Notes", "PatternFile", "Plugin",
    "PluginConfig", "Problem", "RcptParameters", "Reply", "Results", "Server", "Settings", "Size",
    "Transaction", "Verdict", "hookimpl", "return_path_field", "to_ascii",
]  # fmt: skip
