"""The sending side: from a stored message to the next hop, and reports to its sender."""

from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.courier import Ending
from harakapy.outbound.failure import Action, Judgement
from harakapy.outbound.hmail import Bounce, Deferral, Handover, HMail
from harakapy.outbound.hop import NextHop, NextHopError, TlsLevel
from harakapy.outbound.login_answer import LoginAnswer, LoginCheck
from harakapy.outbound.next_hop_table import (
    DomainPattern,
    NextHopRoutes,
    NextHopTable,
    NextHopUrls,
    domain_patterns,
)
from harakapy.outbound.passing_on import Way
from harakapy.outbound.route import SMTP_PORT
from harakapy.outbound.service import Outbound

__all__ = [
    "SMTP_PORT",
    "Action",
    "Answer",
    "Bounce",
    "Deferral",
    "DomainPattern",
    "Ending",
    "HMail",
    "Handover",
    "HostFailed",
    "Judgement",
    "LoginAnswer",
    "LoginCheck",
    "NextHop",
    "NextHopError",
    "NextHopRoutes",
    "NextHopTable",
    "NextHopUrls",
    "Outbound",
    "Phase",
    "TlsLevel",
    "Way",
    "domain_patterns",
]
