"""Everybody goes elsewhere: how a server that leaves sends its readers away, so that they don't all come back at once.

    spread ─▶ one moment for each guest, in a window
       ├─ what it reads goes on elsewhere (a shared store): it leaves at its moment, and may come back at once
       └─ what it reads ends here: it is told that moment as the time to come back after, then the end

Either way the moments at which readers come back lie evenly over the window: at no time do more than twice as many
come as on average. Few readers take a part of the window only.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from patinox.delivery.fanout import Fanout
from patinox.delivery.subscription import Subscription
from patinox.delivery.wire import StreamType

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

READERS_PER_S = 50
"""As many may come back in a second, however few they are: the window is as long as that takes, or as it may be."""

RETURN_S = 1.0
"""The least time that a reader is told to wait: whoever takes over needs a moment as well."""


class Guest(Protocol):
    """A connection that is to go elsewhere.

    `goes_on` says whether what it reads can be read on another node, from where it stands.
    """

    @property
    def goes_on(self) -> bool:
        """Whether coming back elsewhere makes sense."""
        ...

    def tell(self, after_s: float) -> None:
        """Tells it when to come back; it stays until what it reads has ended, which is now."""
        ...

    def send_off(self, after_s: float) -> None:
        """Lets it go with all there is by now, told where it stands and when to come back."""
        ...


class HttpGuest:
    """A reader over HTTP, or whatever else has one connection for one subscription."""

    __slots__ = ("_fanout", "_subscription", "goes_on")

    def __init__(self, subscription: Subscription, fanout: Fanout, *, goes_on: bool) -> None:
        self._subscription = subscription
        self._fanout = fanout
        self.goes_on = goes_on

    def __repr__(self) -> str:
        return f"<HttpGuest {self._subscription!r}>"

    def tell(self, after_s: float) -> None:
        """As in `Guest`. One that is being caught up comes back in its own time anyway."""
        self._fanout.tell(self._subscription, self._subscription.goodbye(after_s))

    def send_off(self, after_s: float) -> None:
        """As in `Guest`."""
        self._fanout.send_off(self._subscription, after_s)


def spread(count: int, window_s: float, chance: random.Random) -> list[float]:
    """A moment in `[0, window_s)` for each of `count`: the window has as many slots, and each of them one moment.

    In any span there are at most two more than its share; which moment is whose is random.
    """
    moments = [window_s * (slot + chance.random()) / count for slot in range(count)]
    chance.shuffle(moments)
    return moments


def window_for(count: int, most_s: float) -> float:
    """How long `count` readers take to come back."""
    return min(most_s, count / READERS_PER_S)


class Departure:
    """One manager's leaving. `sockets` are the guests that are not subscriptions of their own."""

    def __init__(self, manager: StreamManager, sockets: Iterable[Guest], chance: random.Random | None = None) -> None:
        self._manager = manager
        self._chance = chance if chance is not None else random.Random()
        self._guests: Sequence[Guest] = [*self._readers(), *sockets]

    def __repr__(self) -> str:
        return f"<Departure of {len(self._guests)} guests>"

    def _readers(self) -> Iterator[Guest]:
        manager = self._manager
        ending = {stream.feed for stream in manager if not manager.outlives(stream)}
        shared = manager.store.is_shared
        for subscription in manager.fanout:
            if subscription.view.wire.type is not StreamType.WEBSOCKET:
                goes_on = shared and subscription.feed not in ending
                yield HttpGuest(subscription, manager.fanout, goes_on=goes_on)

    async def run(self, reason: str) -> None:
        """Tells everybody, ends what ends here, and lets the others go, each at its moment."""
        manager, guests = self._manager, self._guests
        moments = spread(len(guests), window_for(len(guests), manager.config.drain_window_s), self._chance)
        for guest, at_s in zip(guests, moments, strict=True):
            if not guest.goes_on:
                guest.tell(RETURN_S + at_s)
        began_s = asyncio.get_running_loop().time()
        await manager.interrupt_all(reason)
        timetable = sorted((at_s, number) for number, at_s in enumerate(moments) if guests[number].goes_on)
        for at_s, number in timetable:
            left_s = began_s + at_s - asyncio.get_running_loop().time()
            if left_s > 0:
                await asyncio.sleep(left_s)
            guests[number].send_off(RETURN_S)
