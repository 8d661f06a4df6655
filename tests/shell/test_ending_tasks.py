"""Tasks that wait for an engine are ended for certain."""

import asyncio

from patinox.stores.tasks import end


async def deaf(begun: asyncio.Event, times: int) -> None:
    """Loses so many cancellations, as `asyncio.wait_for` of Python 3.11 may."""
    for _ in range(times + 1):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    raise asyncio.CancelledError


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(deaf(begun, 2))
    await begun.wait()
    await end([task])
    assert task.cancelled()


async def test_there_may_be_none_and_those_that_are_over() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end([])
    await end([task])
    assert not task.cancelled()
