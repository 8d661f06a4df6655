"""Cohorts: readers of one view that get the same message, which is packed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from patinox.delivery.feed import Feed
from patinox.delivery.sink import Message, Sink
from patinox.delivery.subscription import MAX_WRITE_BYTES, Subscription
from patinox.delivery.view import View


class Cohort(NamedTuple):
    """What readers have in common. Nearly always all of a view are one cohort."""

    kind: str
    cursor: int
    audience: str | None


class Packed(NamedTuple):
    """What a cohort gets: a message (None: nothing to say), and whether it says the end.

    `upto` is the record it reaches up to; `over` says that this is the log's last.
    """

    message: Message | None
    upto: int
    says_end: bool
    over: bool


def cohorts(view: View, head: int, subscriptions: Sequence[Subscription]) -> dict[Cohort, list[Subscription]]:
    """Those of the subscriptions that have something to be told up to `head`, by what that is."""
    found: dict[Cohort, list[Subscription]] = {}
    last: tuple[str, int, str | None] | None = None  # compared as what it is: making it a Cohort takes longer
    members: list[Subscription] = []
    for subscription in subscriptions:
        sink, cursor = subscription.sink, subscription.cursor
        if sink is None or cursor >= head or subscription.task is not None:
            continue  # left, or was brought further, while the loop had other things to do
        audience = subscription.audience
        if audience is not None and not view.addresses(audience, cursor):
            audience = None
        own = (sink.kind, cursor, audience)
        if own != last:
            last, members = own, found.setdefault(Cohort(*own), [])
        members.append(subscription)
    return found


def pack(feed: Feed, view: View, sink: Sink, cohort: Cohort) -> Packed | None:
    """None where a task has to write: frames that are not hot (any more), and large ones.

    Middlewares hand large bodies to a thread (Starlette's GZip), which takes a task to wait for it.
    How the feed stands is looked at here, since it may grow or end while the pass has given the loop back.
    """
    batch = view.take(cohort.cursor, MAX_WRITE_BYTES, cohort.audience)
    if batch is None or len(batch.data) >= 2 * MAX_WRITE_BYTES:
        return None
    over = feed.ended and batch.upto >= view.log.head
    says_end = over and not (view.wire.aborts and feed.went_wrong)
    message = sink.pack(batch.data, final=says_end) if batch.data or says_end else None
    return Packed(message, batch.upto, says_end, over)
