"""For tests of what is built on Patinox: contract checks, fakes, faults."""

from patinox.testing.contract import StoreCheck, check_store, store_checks
from patinox.testing.transport import check_transport

__all__ = ["StoreCheck", "check_store", "check_transport", "store_checks"]
