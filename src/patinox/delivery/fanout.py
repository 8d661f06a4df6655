"""The fan-out: everything that was appended goes to every reader at the head, one pass per turn of the event loop.

    append → mark(feed) ─call_soon─▶ pass: per view, make the new frames once, pack one message,
                                     push it into the sinks of the parked subscriptions
                                       ├─ left at once       → the next one
                                       ├─ must wait (busy)   → a small task finishes this write, then catches up
                                       └─ raised             → the reader is gone

A *parked* subscription stands at the head and costs nothing while nothing happens. One that is not parked (it has
just attached, its socket was full, it fell out of the window) is brought to the head by its task with joined
writes of bounded size, and parks there. The pass gives the loop back every few milliseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from typing import Any

from patinox.delivery.cohorts import Cohort, Packed, cohorts, pack
from patinox.delivery.driver import Driver
from patinox.delivery.feed import Feed
from patinox.delivery.sink import Left, Message, Sink, push_each
from patinox.delivery.subscription import Subscription, too_slow
from patinox.delivery.view import View
from patinox.errors import ReaderTooSlow, Unauthenticated

_SLICE_S = 0.004  # how long a pass may hold the event loop
_LOOK_AT_CLOCK_EVERY = 32  # deliveries; at some 10 µs each well below a slice
_BEATS = 4  # heartbeat ticks an interval: a silent connection is served between 3/4 and one interval

_log = logging.getLogger("patinox.delivery")


class Fanout:
    """Delivers for one event loop. Owns the subscriptions given to `deliver` until they are done or dropped.

    `driver` is for the sinks that it delivers to.
    """

    def __init__(self, *, heartbeat_interval_s: float = 30.0, write_deadline_s: float = 30.0) -> None:
        self.driver = Driver()
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[Feed, None] = {}
        self._pass: Iterator[None] | None = None
        self._beat: Iterator[None] | None = None
        self._subscriptions: dict[Subscription, None] = {}
        self._write_deadline_s = write_deadline_s
        self._tick_s = heartbeat_interval_s / _BEATS
        self._timer = self._loop.call_later(self._tick_s, self._tick) if self._tick_s else None
        self._leaving: set[asyncio.Task[None]] = set()
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Fanout {len(self._subscriptions)} subscriptions>"

    def __len__(self) -> int:
        return len(self._subscriptions)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._subscriptions))

    def stats(self) -> dict[str, int]:
        """Subscriptions held, and how many of them stand at the head."""
        busy = sum(1 for subscription in self._subscriptions if subscription.task is not None)
        return {"subscriptions": len(self._subscriptions), "at_head": len(self._subscriptions) - busy, "busy": busy}

    def mark(self, feed: Feed) -> None:
        """Says that a feed has something new (or has ended); delivered in the loop's next turn."""
        self._dirty[feed] = None
        if self._pass is None and not self._closed:
            self._pass = self._deliver_all()
            self._loop.call_soon(self._run_pass)

    def deliver(self, subscription: Subscription, sink: Sink, opening: bytes = b"") -> asyncio.Future[None]:
        """Pushes `opening` and then everything after the subscription's cursor; the future is done at the end.

        The future raises what the sink raised when the connection broke, or TimeoutError at the write deadline.
        """
        subscription.sink = sink
        subscription.when_done = self._loop.create_future()
        self._subscriptions[subscription] = None
        self._catch_up_later(subscription, None, opening)
        return subscription.when_done  # type: ignore[no-any-return]

    async def drop(self, subscription: Subscription) -> None:
        """Stops delivering to a subscription, whatever it is doing. Idempotent."""
        task = self.drop_nowait(subscription)
        if task is not None:
            await asyncio.wait([task])

    def drop_nowait(self, subscription: Subscription) -> asyncio.Task[None] | None:
        """The same without waiting for its task, which is returned where there was one; `aclose` waits for it."""
        task: asyncio.Task[None] | None = subscription.task
        self._forget(subscription)
        if task is not None and not task.done():
            task.cancel()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        return task

    def end(self, subscription: Subscription, error: Exception) -> None:
        """Ends the delivery to a subscription before its stream's end, for a reason that its future raises."""
        self.drop_nowait(subscription)
        self._finish(subscription, error)

    def tell(self, subscription: Subscription, data: bytes) -> None:
        """Has a reader at the head told something that is no record, before whatever comes next. Others are not."""
        if data and subscription.sink is not None and subscription.task is None:
            self._catch_up_later(subscription, None, data)

    def send_off(self, subscription: Subscription, after_s: float) -> None:
        """Ends the delivery to a reader, once it has what there is; it is told to come back in `after_s` seconds."""
        subscription.leaves_after_s = after_s
        if subscription.sink is not None and subscription.task is None:
            self._catch_up_later(subscription, None)

    async def settle(self, timeout_s: float) -> None:
        """Waits until every subscription is done or dropped, `timeout_s` at most."""
        if self._subscriptions and timeout_s:
            self._emptied = self._loop.create_future()
            await asyncio.wait((self._emptied,), timeout=timeout_s)

    async def aclose(self) -> None:
        """Drops every subscription and stops the timers."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for subscription in list(self._subscriptions):
            when_done = subscription.when_done
            await self.drop(subscription)
            if not when_done.done():
                when_done.cancel()
        if self._leaving:
            await asyncio.wait(set(self._leaving))

    # ── the pass ──

    def _run_pass(self) -> None:
        deadline = self._loop.time() + _SLICE_S
        assert self._pass is not None
        try:
            for _ in self._pass:
                if self._loop.time() > deadline:
                    self._loop.call_soon(self._run_pass)
                    return
        except Exception:  # a fault in one stream must not end the delivery of all others
            _log.exception("a pass over the readers broke off")
        self._pass = None
        if self._dirty and not self._closed:  # marked while the last feed was being delivered
            self.mark(next(iter(self._dirty)))

    def _deliver_all(self) -> Iterator[None]:
        while self._dirty:
            feed = next(iter(self._dirty))
            del self._dirty[feed]
            feed.wake()
            for member, is_lost in feed.overdue():
                self._police(member, is_lost)
            for view in list(feed.views.values()):
                if view.parked or (view.readers and view.primed):
                    yield from self._deliver(feed, view)
            feed.progressed()

    def _police(self, member: Any, is_lost: bool) -> None:
        """A reader that lagged too far: moved to the head, or let go, which it can resume from."""
        member.feed.counters.drop("too_slow" if is_lost else "skipped")
        if not is_lost:
            member.skip()
            return
        member.let_go()
        if isinstance(member, Subscription) and member.sink is not None:
            self.end(member, too_slow(member.lag))

    def _deliver(self, feed: Feed, view: View) -> Iterator[None]:
        try:
            view.advance()
        except Exception as error:  # a writer that fails on a record must not take the other streams' readers along
            _log.exception("%r cannot be written", view)
            for subscription in tuple(view.parked):
                self._finish(subscription, error)
            return
        head = view.log.head  # as it is now: what is appended while the loop has other things to do is the next pass's
        packed: dict[Cohort, Packed | None] = {}
        parked = tuple(view.parked)
        for start in range(0, len(parked), _LOOK_AT_CLOCK_EVERY):
            if start:
                yield
            for cohort, members in cohorts(view, head, parked[start : start + _LOOK_AT_CLOCK_EVERY]).items():
                if cohort not in packed:
                    packed[cohort] = pack(feed, view, members[0].sink, cohort)
                self._push(members, packed[cohort], head)

    def _push(self, members: list[Subscription], packed: Packed | None, head: int) -> None:
        if packed is None:
            for member in members:
                self._catch_up_later(member, None)
            return
        message, upto, says_end, over = packed
        for member in members:
            member.cursor = upto
        left: Left = {}
        if message is not None:
            for member in members:
                member.quiet_ticks = 0
            sinks = [member.sink for member in members]
            left = getattr(sinks[0], "push_all", push_each)(sinks, message)
        if not left and not over and upto >= head:
            return  # nearly always
        for at, member in enumerate(members):
            pending = left.get(at)
            if member.sink is None:
                continue  # dropped meanwhile, by what another one's `send` set going
            member.said_end = says_end
            if isinstance(pending, Exception):
                self._finish(member, pending)
            elif pending is not None or upto < head:
                self._catch_up_later(member, pending)
            elif over:
                self._finish(member)

    # ── one subscription ──

    def _catch_up_later(
        self, subscription: Subscription, pending: Awaitable[None] | None, opening: bytes = b""
    ) -> None:
        subscription.view.parked.pop(subscription, None)
        subscription.task = self._loop.create_task(self._catch_up(subscription, pending, opening))

    async def _catch_up(self, subscription: Subscription, pending: Awaitable[None] | None, opening: bytes) -> None:
        try:
            if opening:
                await self._write(subscription, opening, final=False)
            if pending is not None:
                await self._in_time(pending)
            while not subscription.said_end:
                batch = subscription.take()
                data = (await subscription.page()).data if batch is None else batch.data
                if subscription.sink is None:  # dropped, and an engine's client lost the cancellation (`stores.tasks`)
                    return
                last = subscription.said_end = subscription.at_end and not subscription.must_abort
                if data or last:
                    await self._write(subscription, data, final=last)
                subscription.feed.progressed(subscription)
                if subscription.at_end:
                    break
                if subscription.lag == 0 and subscription.view.primed:
                    if subscription.leaves_after_s is not None:
                        await self._say_farewell(subscription)
                        break
                    subscription.task = None
                    subscription.view.parked[subscription] = None
                    return
            subscription.task = None
            self._finish(subscription)
        except Exception as error:
            subscription.task = None
            self._finish(subscription, error)

    async def _say_farewell(self, subscription: Subscription) -> None:
        data = await subscription.farewell()
        if subscription.sink is None:
            return
        subscription.said_end = not subscription.view.wire.aborts
        if data or subscription.said_end:
            await self._write(subscription, data, final=subscription.said_end)

    async def _write(self, subscription: Subscription, data: bytes, *, final: bool) -> None:
        sink = subscription.sink
        subscription.quiet_ticks = 0
        pending = sink.push(sink.pack(data, final=final))
        if pending is not None:
            await self._in_time(pending)
        else:
            await asyncio.sleep(0)  # a reader far behind must not keep the loop to itself

    async def _in_time(self, pending: Awaitable[None]) -> None:
        async with asyncio.timeout(self._write_deadline_s or None):
            await pending

    def _finish(self, subscription: Subscription, error: Exception | None = None) -> None:
        when_done = subscription.when_done
        self._forget(subscription)
        if when_done is None or when_done.done():
            return
        if error is None:
            when_done.set_result(None)
            return
        if not isinstance(error, ReaderTooSlow):  # counted where it was decided
            subscription.feed.counters.drop(_reason(error))
        when_done.set_exception(error)

    def _forget(self, subscription: Subscription) -> None:
        subscription.view.parked.pop(subscription, None)
        self._subscriptions.pop(subscription, None)
        subscription.sink = None
        if self._emptied is not None and not self._subscriptions and not self._emptied.done():
            self._emptied.set_result(None)

    # ── heartbeats ──

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        if self._beat is None:  # else the last round is still under way: it serves
            self._beat = self._beats()
            self._run_beats()

    def _run_beats(self) -> None:
        if self._closed or self._beat is None:
            return
        deadline = self._loop.time() + _SLICE_S
        for _ in self._beat:
            if self._loop.time() > deadline:
                self._loop.call_soon(self._run_beats)
                return
        self._beat = None

    def _beats(self) -> Iterator[None]:
        messages: dict[tuple[str, bytes], Message] = {}
        for count, subscription in enumerate(tuple(self._subscriptions), 1):
            if not count % _LOOK_AT_CLOCK_EVERY:
                yield
            if subscription.sink is None or subscription.task is not None:
                continue
            subscription.quiet_ticks += 1
            if subscription.quiet_ticks < _BEATS:
                continue
            subscription.quiet_ticks = 0
            self._beat_one(subscription, messages)

    def _beat_one(self, subscription: Subscription, messages: dict[tuple[str, bytes], Message]) -> None:
        sink, heartbeat = subscription.sink, subscription.view.wire.heartbeat
        if not heartbeat:
            return
        key = (sink.kind, heartbeat)
        if key not in messages:
            messages[key] = sink.pack(heartbeat, final=False)
        try:
            pending = sink.push(messages[key])
        except Exception as error:
            self._finish(subscription, error)
            return
        if pending is not None:
            self._catch_up_later(subscription, pending)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "write_deadline"
    return "expired" if isinstance(error, Unauthenticated) else "disconnected"
