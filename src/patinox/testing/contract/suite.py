"""The suite: every check by its name, one by one for a test runner or all at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from patinox.testing.contract import appends, ends, leases, news, records
from patinox.testing.contract.bench import Bench, MakeStore

_ALL = (*records.CHECKS, *appends.CHECKS, *leases.CHECKS, *news.CHECKS, *ends.CHECKS)


class StoreCheck(msgspec.Struct, frozen=True):
    """One behaviour. Called with `make` it raises `AssertionError` where a store does not have it.

    `str(check)` is its name, fit for the id of a test; `says` the sentence that is checked.
    """

    run: Callable[[Bench], Awaitable[None]]

    def __str__(self) -> str:
        return self.run.__name__

    @property
    def says(self) -> str:
        """The behaviour in words."""
        return self.run.__doc__ or ""

    async def __call__(self, make: MakeStore) -> None:
        """Runs the check on a store that `make` opens."""
        async with Bench(make) as bench:
            await self.run(bench)


def store_checks(*, durable: bool) -> tuple[StoreCheck, ...]:
    """Every check; with `durable` also those of a store that keeps what it has when it is closed.

    @pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
    async def test_my_store(check):
        await check(make)
    """
    return tuple(StoreCheck(run) for run in (_ALL + ends.DURABLE_CHECKS if durable else _ALL))


async def check_store(make: MakeStore, *, durable: bool) -> None:
    """Checks a store for all that `patinox.stores.base.Store` promises, behaviour by behaviour.

    `make` returns an async context manager that opens the store and closes it. It is used several times: one after the
    other, which a `durable` store remembers, and twice at once where `is_shared` is true, as two nodes use one engine.
    Names are the checks' own and are deleted afterwards, so that an engine may hold other streams; it must not be
    swept meanwhile. Raises an `ExceptionGroup` of what failed, each with a note that names the check.
    """
    failures = []
    for check in store_checks(durable=durable):
        try:
            await check(make)
        except Exception as error:
            error.add_note(f"{check}: {check.says}")
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} checks of the store failed", failures)
