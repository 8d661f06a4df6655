"""Ending tasks that wait for an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_S = 0.05


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until each has ended; what they raise is not looked at.

    Once is not enough before Python 3.12: `asyncio.wait_for`, which clients of engines use, loses a cancellation that
    comes together with what it waits for (https://github.com/python/cpython/issues/86296).
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_AGAIN_S)
