"""One look at a manager: what a scrape tells.

Labels are bounded by what the code itself names: states, outcomes, reasons, transports, formats, limits. A stream's id,
its metadata, a tenant or an address never becomes one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from patinox.core.attach import AttachOutcome
from patinox.core.chunks import Outcome
from patinox.core.lifecycle import State
from patinox.delivery.counters import Histogram
from patinox.delivery.wire import StreamType
from patinox.manager import StreamManager
from patinox.transports.websocket.hub import WebSocketHandler

_SLICE = 500  # streams or readers that are looked at before the loop is given back

DROPS = ("buffer_full", "disconnected", "skipped", "too_slow", "write_deadline")
GAPS = ("dropped", "evicted")
LIMITS = (
    "max_connections",
    "max_connections_per_address",
    "max_connections_per_stream",
    "max_connections_per_tenant",
    "max_connections_per_user",
    "max_streams",
    "max_streams_per_producer",
    "max_streams_per_tenant",
)


class Observation(NamedTuple):
    """Figures of one moment (gauges), and since the manager was made (counters and histograms)."""

    is_draining: bool
    streams: Mapping[str, int]
    running: int
    connections: Mapping[str, int]
    subscriptions: Mapping[tuple[str, str], int]
    busy: int
    lag_chunks: int
    lag_bytes: int
    chunks: int
    chunk_bytes: int
    created: int
    ended: Mapping[str, int]
    attaches: Mapping[str, int]
    dropped: Mapping[str, int]
    gaps: Mapping[str, int]
    refused: Mapping[str, int]
    pulled_s: Histogram
    pushed_s: Histogram
    loop_delay_s: Histogram


class _Readers:
    """What all subscriptions come to."""

    def __init__(self) -> None:
        self.by_wire: Counter[tuple[str, str]] = Counter()
        self.busy = 0
        self.lag_chunks = 0
        self.lag_bytes = 0


async def observe(manager: StreamManager, websockets: WebSocketHandler, loop_delay_s: Histogram) -> Observation:
    """Looks at everything once, and gives the event loop back between slices."""
    streams = await _streams(manager)
    readers = await _readers(manager)
    counters, figures = manager.counters, manager.figures
    return Observation(
        is_draining=manager.is_closing,
        streams=streams,
        running=manager.running,
        connections=_connections(readers.by_wire, len(websockets.connections)),
        subscriptions=readers.by_wire,
        busy=readers.busy,
        lag_chunks=readers.lag_chunks,
        lag_bytes=readers.lag_bytes,
        chunks=counters.chunks,
        chunk_bytes=counters.chunk_bytes,
        created=figures.created,
        ended={outcome.value: figures.ended[outcome] for outcome in Outcome},
        attaches=_from_zero(AttachOutcome, counters.attaches),
        dropped=_from_zero(DROPS, counters.dropped),
        gaps=_from_zero(GAPS, counters.gaps),
        refused=_from_zero(LIMITS, manager.admission.refused),
        pulled_s=figures.pulled_s,
        pushed_s=figures.pushed_s,
        loop_delay_s=loop_delay_s,
    )


async def _streams(manager: StreamManager) -> dict[str, int]:
    states = {state.value: 0 for state in State}
    for count, stream in enumerate(manager, 1):
        states[stream.state] += 1
        if not count % _SLICE:
            await asyncio.sleep(0)
    return states


async def _readers(manager: StreamManager) -> _Readers:
    readers = _Readers()
    for count, subscription in enumerate(manager.fanout, 1):
        view = subscription.view
        readers.by_wire[view.wire.type, view.format.name] += 1
        readers.busy += subscription.task is not None
        lag = subscription.lag
        if lag:
            readers.lag_chunks = max(readers.lag_chunks, lag)
            readers.lag_bytes = max(readers.lag_bytes, subscription.feed.log.bytes_after(subscription.cursor))
        if not count % _SLICE:
            await asyncio.sleep(0)
    return readers


def _connections(by_wire: Mapping[tuple[str, str], int], websockets: int) -> dict[str, int]:
    """An HTTP reader is a connection of its own; a socket is one, whatever it reads."""
    connections = {type_.value: 0 for type_ in StreamType}
    for (type_, _), count in by_wire.items():
        connections[type_] += count
    return {**connections, StreamType.WEBSOCKET: websockets}


def _from_zero(names: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """All that may be counted, whether it has happened or not: a rate needs to see the first one."""
    return {**{str(name): 0 for name in names}, **counts}
