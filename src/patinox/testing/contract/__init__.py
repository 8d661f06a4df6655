"""The contract of a store as a suite of checks, for our stores and for anybody's.

    async def test_my_store() -> None:
        await check_store(lambda: opened(MyStore("…")), durable=True)

`store_checks` gives them one by one, so that a test runner names the behaviour that fails.
"""

from patinox.testing.contract.bench import MakeStore as MakeStore
from patinox.testing.contract.suite import StoreCheck as StoreCheck
from patinox.testing.contract.suite import check_store as check_store
from patinox.testing.contract.suite import store_checks as store_checks
