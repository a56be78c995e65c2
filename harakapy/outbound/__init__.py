"""The sending side: from a stored message to the next hop, and reports to its sender."""

from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.courier import Ending
from harakapy.outbound.failure import Action, Judgement
from harakapy.outbound.hmail import Bounce, Deferral, Handover, HMail
from harakapy.outbound.hop import NextHop, NextHopError, TlsLevel
from harakapy.outbound.route import SMTP_PORT
from harakapy.outbound.service import Outbound

__all__ = [
    "SMTP_PORT",
    "Action",
    "Answer",
    "Bounce",
    "Deferral",
    "Ending",
    "HMail",
    "Handover",
    "HostFailed",
    "Judgement",
    "NextHop",
    "NextHopError",
    "Outbound",
    "Phase",
    "TlsLevel",
]
