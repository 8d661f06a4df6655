"""For tests of what is built on Patinox: contract checks, fakes, faults."""

from patinox.testing.transport import check_transport

__all__ = ["check_transport"]
