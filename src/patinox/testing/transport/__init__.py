"""`check_transport`: what every transport has to hold, told as one suite.

adapter   what the suite asks of a transport, in a few methods
checks    the suite, a function for each promise
"""

from patinox.testing.transport.adapter import Broken, Reading, Record, Refused, Session, Transport
from patinox.testing.transport.checks import TRANSPORT_CHECKS, check_transport

__all__ = [
    "TRANSPORT_CHECKS",
    "Broken",
    "Reading",
    "Record",
    "Refused",
    "Session",
    "Transport",
    "check_transport",
]
