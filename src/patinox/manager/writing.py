"""The writing side of a stream: what its producers do.

    write ─▶ (pipeline) ─▶ room, back-pressure ─▶ numbered ─▶ acknowledged by the store ─▶ revealed to the readers

A store that acknowledges at once (memory) has the last three in one step; with any other, what is numbered waits in the
stream's `Tail`, and `write` until it has been acknowledged.
"""

from __future__ import annotations

import asyncio
from typing import Any

from patinox.config.choices import Retain
from patinox.core.chunks import ChunkData, End, Error, Outcome, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.events import Event
from patinox.core.lifecycle import Signal, step
from patinox.core.producers import Producer
from patinox.errors import BufferFull, InputError, TooLarge
from patinox.manager.ending import EndingSide
from patinox.manager.tail import Burst

_YIELD_EVERY = 64  # writes: a producer that never waits for anything must still let readers have their turn


class WritingSide(EndingSide):
    """What a stream does for its producers."""

    async def write(self, data: str | ChunkData | Event | StreamChunk) -> StreamChunk:
        """Appends one chunk and returns it once the store has it; waits first where back-pressure says so.

        With `overflow_strategy = "block"` and `retain = "window"` it waits for room. Cancelled while it waits for that,
        nothing was appended. Where a pipeline stands before the stream, the chunk is what was given, at the position
        that the log has reached: the pipeline decides what leaves, and when. Raises `StoreError` where the store does
        not answer in time: then it is not known whether it has the chunk.
        """
        chunk = await self.put(data)
        if self.tail is not None:
            await (self.tail.acknowledged(chunk.sequence) if self.intake is None else self.flush())
        return chunk

    async def put(self, data: Any) -> StreamChunk:
        """`write` that does not wait for the store, as a burst does; see `burst`."""
        if self.intake is None:
            return await self.admit(data)
        value, _ = self._prepare(data)
        await self.intake.write(value)
        return self._taken(value)

    async def admit(self, data: Any) -> StreamChunk:
        """`put` behind the pipeline: for the pipeline."""
        value, payload = self._prepare(data)
        await self._give_way(payload)
        return self._put(value, payload)

    def burst(self) -> Burst:
        """For many writes that are acknowledged together."""
        return Burst(self)

    async def flush(self) -> None:
        """Waits until the store has everything that was written. Raises `StoreError` where something was lost."""
        if self.tail is not None:
            await self.tail.flushed()

    async def _give_way(self, payload: bytes) -> None:
        self._writes += 1
        if not self._writes % _YIELD_EVERY:
            await asyncio.sleep(0)
        if self.tail is not None and not self.tail.is_ready:
            await self.tail.ready()
        if self.pacing.may_wait(len(payload)):
            await self.pacing.wait(len(payload))

    def write_nowait(self, data: str | ChunkData | Event | StreamChunk) -> StreamChunk:
        """Appends one chunk without waiting; `flush` waits until the store has it.

        An `Error` is final: it ends the stream as `failed`. Raises `StreamClosed`, `TooLarge`, `BufferFull`, or
        `InvalidChunk` for a value that JSON cannot say; in each case nothing was appended.
        """
        if self.intake is None:
            return self.admit_nowait(data)
        value, _ = self._prepare(data)
        self.intake.write_nowait(value)
        return self._taken(value)

    def admit_nowait(self, data: Any) -> StreamChunk:
        """`write_nowait` behind the pipeline: for the pipeline."""
        prepared = self._prepare(data)
        if self.tail is not None:
            self.tail.check()
        return self._put(*prepared)

    def _taken(self, value: Any) -> StreamChunk:
        return StreamChunk(self.log.head, value, self._clock(), epoch=self.epoch)

    def _prepare(self, data: Any) -> tuple[Any, bytes]:
        step(self._state, Signal.APPEND)
        if isinstance(data, StreamChunk):
            data = data.data
        value = Text(data) if isinstance(data, str) else data
        if isinstance(value, End) or not hasattr(value, "kind"):
            raise InputError(f"write takes str, Text, Json, Binary, Error or an event, not {type(value).__name__}")
        payload = encode_data(value)
        if len(payload) > self._config.max_chunk_bytes:
            limit = self._config.max_chunk_bytes
            raise TooLarge(f"a chunk of {len(payload)} bytes; max_chunk_bytes is {limit}")
        return value, payload

    def _put(self, value: Any, payload: bytes, producer: Producer | None = None) -> StreamChunk:
        step(self._state, Signal.APPEND)  # it may have ended while the producer waited
        if isinstance(value, Error):
            return self._finish(value, Outcome.FAILED)
        self._check_size(len(payload))
        return self._append(value, payload, producer=producer)

    async def produce(self, data: Any, producer: Producer) -> bool:
        """Appends one chunk of an idempotent producer; False when it was appended before. Either way the store has it.

        The number is committed with the chunk.
        """
        is_new = await self.put_numbered(data, producer)
        await self.flush()
        return is_new

    async def put_numbered(self, data: Any, producer: Producer) -> bool:
        """`produce` that does not wait for the store."""
        if self.tail is not None and not self.is_mine:
            await self.tail.ready()  # what a producer was acknowledged elsewhere is not known yet
        if self.producers.is_known(producer):
            return False
        value, payload = self._prepare(data)
        if self.intake is not None:
            return await self.intake.write(value, producer)
        await self._give_way(payload)
        if self.producers.is_known(producer):  # a retry was faster while this one waited
            return False
        self._put(value, payload, producer)
        return True

    def _append(
        self, value: Any, payload: bytes, *, final: bool = False, producer: Producer | None = None
    ) -> StreamChunk:
        tail = self.tail
        if tail is not None:
            tail.check_held()
            chunk = tail.add(value, self._clock(), payload, is_final=final)
            if producer is not None:
                tail.acknowledge_to(producer.id, self.producers.appended(producer))
            if self.first_chunk_s is None and not final:
                self._first_chunk(chunk.timestamp)
            return chunk
        if not final:
            self.pacing.has_room(len(payload))
        try:
            chunk = self.log.append(value, self._clock(), is_final=final, payload=payload)
        except BufferFull:
            self.feed.counters.drop("buffer_full")
            raise
        if self.first_chunk_s is None and not final:
            self._first_chunk(chunk.timestamp)
        acknowledged = None if producer is None else {producer.id: self.producers.appended(producer)}
        if self.options.retain is Retain.FULL:
            self._keep_nowait(self.key, chunk, acknowledged)
        self.reveal(chunk)
        self.feed.grown()
        return chunk

    def _first_chunk(self, at_s: float) -> None:
        self.first_chunk_s = at_s
        figures = self.manager.figures
        times = figures.pushed_s if self._cancel_producer is None else figures.pulled_s
        times.observe(max(0.0, at_s - self._head.created_s))

    def _check_size(self, size_bytes: int) -> None:
        limit = self._config.max_stream_bytes
        if self.options.retain is Retain.FULL and self.log.size_bytes + self.log.pending_bytes + size_bytes > limit:
            error = Error("max_stream_bytes", f"the stream reached its limit of {limit} bytes")
            self._finish(End(Outcome.INCOMPLETE, error), Outcome.INCOMPLETE)
            raise TooLarge(f"max_stream_bytes = {limit} is reached; the stream ended as incomplete")
