"""Which op does what. Ops are carried out in the order they come, but for `write` and `finish`.

A stream may have its writers wait, for its readers or for its store. So what is written to one stream goes down a lane
of its own, in order, and everything else goes on beside it; a lane that is full has the whole socket wait. What still
waits when the socket closes was not acknowledged, and is not written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from patinox.core.codec import chunk_from_wire, parse_event_id
from patinox.errors import LimitExceeded, PatinoxError, StreamNotFound
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.transports.access import Right
from patinox.transports.arguments import error_of, ttl_of
from patinox.transports.websocket import protocol
from patinox.transports.websocket.frames import CloseCode
from patinox.transports.websocket.protocol import (
    Ack,
    AnyOp,
    Cancel,
    Create,
    Finish,
    Ping,
    Subscribe,
    Unsubscribe,
    Write,
)

if TYPE_CHECKING:
    from patinox.transports.websocket.connection import WebSocketConnection

LANE = 64
"""Ops that may wait for one stream."""


class Router:
    """Carries out the ops of one socket."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._manager = connection.manager
        self._access = connection.access
        self._caller = connection.caller
        self._lanes: dict[str, Lane] = {}
        self._table: dict[type[Any], Callable[[Any], Awaitable[None]]] = {
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
            Create: self._create,
            Write: self._write,
            Finish: self._finish,
            Cancel: self._cancel,
            Ack: self._ack,
            Ping: self._ping,
        }

    def __repr__(self) -> str:
        return f"<Router {len(self._lanes)} lanes>"

    async def take(self, text: str) -> None:
        """Carries out one message, and answers it. Raises OSError when the socket is gone."""
        try:
            self._access.requested(self._caller)
            self._access.received(self._caller, len(text))
            op = protocol.parse(text)
        except protocol.Malformed as error:
            await self._connection.refuse(error, error.ref)
            return
        except LimitExceeded as error:
            await self._connection.refuse(error)
            return
        if not isinstance(op, Write | Finish):
            await self._carry_out(op)
            return
        lane = self._lanes.get(op.stream)
        if lane is None:
            lane = self._lanes[op.stream] = Lane(self._carry_out, partial(self._lanes.pop, op.stream), self._broke)
        await lane.put(op)

    async def aclose(self) -> None:
        """Gives up what waits."""
        for lane in tuple(self._lanes.values()):
            await lane.aclose()

    def _broke(self) -> None:
        self._connection.close(CloseCode.ABNORMAL)

    async def _carry_out(self, op: AnyOp) -> None:
        try:
            await self._table[type(op)](op)
        except PatinoxError as error:
            named = {kind: name for kind in ("stream", "channel") if (name := getattr(op, kind, None)) is not None}
            await self._connection.refuse(error, op.ref, **named)

    # ── reading ──

    async def _subscribe(self, op: Subscribe) -> None:
        after = parse_after(op.after)
        if op.stream is not None:
            await self._connection.read_stream(await self._open(op.stream, Right.READ), op, after)
        else:
            channel = self._access.channel(self._caller, op.channel or "", Right.READ)
            await self._connection.read_channel(channel, op, after)

    async def _unsubscribe(self, op: Unsubscribe) -> None:
        if not self._connection.stop_reading(op.key):
            raise StreamNotFound(f"this socket does not read {op.key[0]} {op.key[1][:140]!r}")
        await self._ok(op, **dict((op.key,)))

    async def _ack(self, op: Ack) -> None:
        parse_event_id(op.id)
        reading = self._connection.readings.get(op.key)
        if reading is not None:  # it may have ended meanwhile: nothing to be said against it
            reading.acked = op.id
        if op.ref is not None:
            await self._ok(op, **dict((op.key,)))

    # ── writing ──

    async def _create(self, op: Create) -> None:
        stream = await self._access.create(
            self._caller, id=op.id, channel=op.channel, metadata=op.metadata, ttl_s=ttl_of(op.ttl),
            retain=op.retain, on_abandon=op.on_abandon, producer=self._connection.address or None,
            pipeline=self._manager.pipelines.asked_for(op.pipeline),
        )  # fmt: skip
        await self._ok(op, stream=stream.id, **stream.describe())

    async def _write(self, op: Write) -> None:
        stream, data = await self._open(op.stream, Right.WRITE), chunk_from_wire(op.chunk)
        accepted = 1
        if op.numbered is None:
            await stream.write(data)
        else:
            accepted = int(await stream.produce(data, op.numbered))
        await self._ok(op, stream=stream.id, position=stream.position, accepted=accepted)

    async def _finish(self, op: Finish) -> None:
        stream = await self._open(op.stream, Right.WRITE)
        await stream.finish(op.outcome, error_of(op.error))
        await self._ok(op, stream=stream.id, position=stream.position, state=stream.state)

    async def _cancel(self, op: Cancel) -> None:
        stream = await self._open(op.stream, Right.CANCEL)
        await stream.cancel(op.reason)
        await self._ok(op, stream=stream.id, position=stream.position, state=stream.state)

    async def _open(self, stream_id: str, right: Right) -> ActiveStream:
        return await self._access.open(self._caller, stream_id, right)

    async def _ping(self, op: Ping) -> None:
        await self._ok(op)

    async def _ok(self, op: AnyOp, **facts: Any) -> None:
        await self._connection.say(protocol.ok(op.ref, **facts))


class Lane:
    """What one socket writes to one stream, in order; over when nothing is left to be written."""

    def __init__(
        self, carry_out: Callable[[AnyOp], Awaitable[None]], on_over: Callable[[], object],
        on_broken: Callable[[], None],
    ) -> None:  # fmt: skip
        self._carry_out = carry_out
        self._on_over = on_over
        self._on_broken = on_broken
        self._ops: deque[AnyOp] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __repr__(self) -> str:
        return f"<Lane {len(self._ops)} waiting>"

    async def put(self, op: AnyOp) -> None:
        """Adds an op; waits while the lane is full."""
        self._ops.append(op)
        if len(self._ops) >= LANE:
            self._room.clear()
        await self._room.wait()

    async def _run(self) -> None:
        try:
            while self._ops:
                op = self._ops.popleft()
                self._room.set()
                await self._carry_out(op)
        except OSError:
            self._on_broken()
        finally:
            self._room.set()
            self._on_over()

    async def aclose(self) -> None:
        """Gives up what waits."""
        self._task.cancel()
        await asyncio.wait((self._task,))
