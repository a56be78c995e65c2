"""harakapy: an extensible mail transfer agent.

This is the public API: what plugins and programs that embed the server are written against.

A name is fetched from where it is defined when somebody asks for it: a command that needs little of harakapy
starts at once, and a plugin loads what it names. Type checkers read the imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from harakapy.queue import StoreError, StoreFull, StoreUnavailable
    from harakapy.queue.memory_store import MemoryStore
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

_HOMES = {
    name: home
    for home, names in {
        "harakapy.config": """
            ConfigError Duration ListenSettings ListFile Network PatternFile Problem Settings Size
            TableFile
        """,
        "harakapy.hooks": """
            CONT DELAY DENY DENYDISCONNECT DENYSOFT DENYSOFTDISCONNECT DISCONNECT HOOK_NEXT NEXT_HOOK OK
            Action Notes Plugin PluginConfig Results Verdict hookimpl
        """,
        "harakapy.inbound": "Connection Transaction",
        "harakapy.log": "Level Logger LogRecord",
        "harakapy.mail": "Content Header to_ascii",
        "harakapy.mail.trace": "return_path_field",
        "harakapy.net": "Endpoint",
        "harakapy.outbound": """
            Bounce Deferral DomainPattern Ending Handover HMail LoginAnswer LoginCheck NextHop
            NextHopRoutes NextHopTable NextHopUrls TlsLevel Way domain_patterns
        """,
        "harakapy.process": "Server",
        "harakapy.queue": "StoreError StoreFull StoreUnavailable",
        "harakapy.queue.memory_store": "MemoryStore",
        "harakapy.smtp": "Address MailParameters RcptParameters Reply",
        "harakapy.smtp.sasl": """
            CramMd5Credentials Credentials ExternalCredentials PasswordCredentials ScramCredentials
            ScramSecret TokenCredentials
        """,
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
