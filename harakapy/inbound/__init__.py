"""We are the SMTP server: connections, transactions, and the dialogue that makes them."""

from harakapy.inbound.admission import Arrival
from harakapy.inbound.connection import Connection, Hello, Local, MessageCount, Remote
from harakapy.inbound.decoy import DecoyKeeper
from harakapy.inbound.outcomes import OUTCOMES, Outcome, Step
from harakapy.inbound.service import Service
from harakapy.inbound.terms import Terms
from harakapy.inbound.transaction import Transaction

__all__ = [
    "OUTCOMES", "Arrival", "Connection", "DecoyKeeper", "Hello", "Local", "MessageCount", "Outcome", "Remote",
    "Service", "Step", "Terms", "Transaction",
]  # fmt: skip
