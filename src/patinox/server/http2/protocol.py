"""One HTTP/2 connection (RFC 9113): hypercorn's protocol, and what it may not do to us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.utils import filter_pseudo_headers
from hyperframe.frame import GoAwayFrame

from patinox.config.streaming import Http2Config
from patinox.delivery.sink import start
from patinox.server.http2.budget import ResetBudget
from patinox.server.http2.frames import FrameLengths, count_resets, data_frame
from patinox.server.http2.outgoing import HIGH_WATER_BYTES, Outbox, Signal, Turns
from patinox.server.http2.stream import Http2Stream

WINDOW_BYTES = 65_535  # of a stream, and what a connection begins with (RFC 9113 §6.9.2)
_BATCH_BYTES = 64 * 1024  # what is written at once before the socket is asked whether it takes more
_LAST_STREAM_ID = 2**31 - 1


class Socket(Protocol):
    """What bytes can be written to without waiting, while it has room."""

    @property
    def has_room(self) -> bool:
        """Whether it has taken all that was written before."""
        ...

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        ...


class Http2Protocol(H2Protocol):
    """hypercorn's protocol for one connection; `limits` and `send_deadline_s` are ours."""

    streams: dict[int, Http2Stream]  # type: ignore[assignment]
    stream_buffers: dict[int, Outbox]  # type: ignore[assignment]

    def __init__(self, *arguments: Any, socket: Socket, limits: Http2Config, send_deadline_s: float) -> None:
        super().__init__(*arguments)
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._is_stirred = False
        self.applications = 0
        self._limits = limits
        self._send_deadline_s = send_deadline_s
        self._budget = ResetBudget(limits.reset_burst, limits.resets_per_second, self._loop.time())
        self._lengths = FrameLengths(self.connection.max_inbound_frame_size)
        self.is_leaving = False
        self._has_announced = False
        self.has_data: Signal = Signal()
        self.priority: Turns = Turns()  # type: ignore[assignment]
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_header_list_size,
            },
        )
        # h2 looks at this setting only when it is acknowledged, and the first request comes before that.
        self.connection.decoder.max_header_list_size = limits.max_header_list_size

    # ── what comes in ──

    async def initiate(self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None) -> None:
        """Sends the settings, and the window for all request bodies together."""
        self.connection.initiate_connection()
        # Announced, and seen to by `_refusal`: h2 would end the connection, its other streams too.
        self.connection.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _LAST_STREAM_ID
        self.connection.local_settings.acknowledge()
        if self._limits.connection_window > WINDOW_BYTES:
            self.connection.increment_flow_control_window(self._limits.connection_window - WINDOW_BYTES)
        await self._flush()
        self.task_group.spawn(self.send_task)

    async def handle(self, event: Event) -> None:
        """Takes bytes, or that the connection has ended."""
        if isinstance(event, RawData):
            await self._receive(event.data)
            return
        await super().handle(event)
        for outbox in self.stream_buffers.values():
            outbox.close_nowait()
        self.stream_buffers.clear()

    async def _receive(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._lengths.admit(data):
            await self.leave(ErrorCodes.FRAME_SIZE_ERROR)
            return
        await self._flush()  # so that what is sent next was caused by what came
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            await self._flush()  # GOAWAY, with the reason
            await self.send(Closed())
            return
        answers = self.connection.data_to_send()
        cancelled = sum(isinstance(event, h2.events.StreamReset) and event.remote_reset for event in events)
        resets = cancelled + count_resets(answers)
        if answers:
            await self.send(RawData(data=answers))
        if resets and not self._can_afford(resets):
            await self.leave(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        await self._handle_events(events)

    def _can_afford(self, resets: int) -> bool:
        return self._budget.spend(resets, self._loop.time())

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if self.closed:
                return
            if isinstance(event, h2.events.DataReceived):
                self._take_body(event)
            elif isinstance(event, h2.events.RequestReceived) and (reason := self._refusal(event)) is not None:
                self.reset(event.stream_id, reason)
                if self.is_leaving:
                    await self._announce_leaving()
                elif not self._can_afford(1):
                    await self.leave(ErrorCodes.ENHANCE_YOUR_CALM)
                    return
            elif not isinstance(event, h2.events.PriorityUpdated):
                await super()._handle_events([event])
        await self._flush()

    def _take_body(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.take(event.data, event.flow_controlled_length)
        else:  # answered already
            self.give_back(event.stream_id, event.flow_controlled_length)

    def _refusal(self, request: h2.events.RequestReceived) -> ErrorCodes | None:
        most = self._limits.max_concurrent_streams
        # Those that were cancelled count until their application has noticed.
        if self.is_leaving or len(self.streams) >= most or self.applications >= most:
            return ErrorCodes.REFUSED_STREAM  # nothing was done for it, so the client may ask again
        return None if _is_plain(request.headers) else ErrorCodes.PROTOCOL_ERROR

    def give_back(self, stream_id: int, window_bytes: int) -> None:
        """Lets the client send as much again (RFC 9113 §6.9): it has been read, or never will be."""
        if window_bytes and not self.closed:
            with suppress(h2.exceptions.ProtocolError):  # it has said that it leaves
                self.connection.acknowledge_received_data(window_bytes, stream_id)
            self.stir()

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        stream_id = request.stream_id
        pseudo = {name: value for name, value in request.headers if name.startswith(b":")}
        stream = self.streams[stream_id] = Http2Stream(self, stream_id)
        self.stream_buffers[stream_id] = Outbox()
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=pseudo[b":method"].decode("ascii").upper(),
                raw_path=pseudo[b":path"],
                state=self.connection_state,
            )
        )

    # ── what goes out ──

    def put(self, stream_id: int, data: bytes) -> Awaitable[None] | None:
        """Has data sent in the stream's turn; what waits for room, where there is too much unsent."""
        outbox = self.stream_buffers.get(stream_id)
        if outbox is None:
            raise ConnectionResetError("the client has gone")
        outbox.put(data)
        self.priority.unblock(stream_id)
        self.stir()
        return start(outbox.room()) if len(outbox) >= HIGH_WATER_BYTES else None

    def stir(self) -> None:
        """Has sent what there is to send, in the loop's next turn: all that has come by then, in one write."""
        if not self._is_stirred:
            self._is_stirred = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._is_stirred = False
        while not self.closed:
            if not self._socket.has_room:
                self.has_data.set_nowait()
                return
            data = self._fill()
            if not data:
                return
            self._socket.write(data)

    async def send_task(self) -> None:
        """Goes on where the socket has no room, and waits for it."""
        while not self.closed:
            await self.has_data.wait()
            await self.has_data.clear()
            while data := self._fill():
                await self.send(RawData(data=data))

    def _fill(self) -> bytes:
        """What is to be written now: a frame of each stream in turn, as far as windows and one write go."""
        parts = [self.connection.data_to_send()]
        size_bytes = 0
        while size_bytes < _BATCH_BYTES and len(self.priority):
            size_bytes += self._take_turn(self.priority.take(), parts)
        return b"".join(parts)

    def _take_turn(self, stream_id: int, parts: list[bytes]) -> int:
        """One frame, if there is room for it; whoever has none has its turn again when its window opens."""
        outbox, stream = self.stream_buffers.get(stream_id), self.connection.streams.get(stream_id)
        if outbox is None:
            return 0
        if stream is None or stream.closed:
            self._forget(stream_id)
            return 0
        connection = self.connection
        room = min(
            connection.outbound_flow_control_window, stream.outbound_flow_control_window,
            connection.max_outbound_frame_size,
        )  # fmt: skip
        data = outbox.take(max(0, room))
        if outbox.ends:
            self._end(stream_id, data, parts)
        elif data:
            # What h2's `send_data` does for a frame that ends nothing, without checks that cost more than the rest.
            stream.outbound_flow_control_window -= len(data)
            connection.outbound_flow_control_window -= len(data)
            parts.append(data_frame(stream_id, data))
            if len(outbox):
                self.priority.unblock(stream_id)
        return len(data)

    def _end(self, stream_id: int, data: bytes, parts: list[bytes]) -> None:
        with suppress(h2.exceptions.ProtocolError):  # the connection has been closed meanwhile
            self.connection.send_data(stream_id, data, end_stream=True)
            self._ended(stream_id)
        self._forget(stream_id)
        parts.append(self.connection.data_to_send())

    def _ended(self, stream_id: int) -> None:
        """The response is whole. A client that still sends is asked not to (RFC 9113 §8.1)."""
        stream = self.connection.streams.get(stream_id)
        if stream is not None and not stream.closed:
            self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)

    async def _window_updated(self, stream_id: int | None) -> None:
        waiting = self.stream_buffers if not stream_id else (stream_id,)
        for waiting_id in waiting:
            outbox = self.stream_buffers.get(waiting_id)
            if outbox is not None and (len(outbox) or outbox.ends):
                self.priority.unblock(waiting_id)
        self.stir()

    # ── ends ──

    async def stream_send(self, event: StreamEvent) -> None:
        """Sends what a stream says. One that its application leaves unfinished is reset, after what it was given."""
        if isinstance(event, StreamClosed):
            outbox = self.stream_buffers.get(event.stream_id)
            if outbox is not None and not outbox.is_complete:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._send_deadline_s or None):
                        await outbox.drain()
                self.reset(event.stream_id, ErrorCodes.INTERNAL_ERROR)
        await super().stream_send(event)

    def reset(self, stream_id: int, reason: ErrorCodes) -> None:
        """Ends a stream by RST_STREAM."""
        self._forget(stream_id)
        with suppress(h2.exceptions.ProtocolError):  # closed already
            self.connection.reset_stream(stream_id, reason)
        self.stir()

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        outbox = self.stream_buffers.get(stream_id)
        if outbox is not None and not outbox.is_complete:  # cancelled: there is nobody to send it to
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.priority.remove_stream(stream_id)
        outbox = self.stream_buffers.pop(stream_id, None)
        if outbox is not None:
            outbox.close_nowait()

    async def _announce_leaving(self) -> None:
        """GOAWAY (RFC 9113 §6.8), where requests still come while none are taken; those there are go on.

        No sooner: clients that are built on h2, such as httpx, take nothing more after it, not even the end of what
        they were reading. The frame is our own, for h2 would end everything with it.
        """
        if self._has_announced:
            return
        self._has_announced = True
        frame = GoAwayFrame(0, last_stream_id=_LAST_STREAM_ID, error_code=ErrorCodes.NO_ERROR)
        await self._flush()
        await self.send(RawData(data=frame.serialize()))

    async def leave(self, reason: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Ends the connection, with whatever is on it."""
        with suppress(h2.exceptions.ProtocolError):  # said already
            self.connection.close_connection(reason)
        await self._flush()
        await self.send(Closed())
        await self.handle(Closed())


def _is_plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether this is a request that we serve: no CONNECT, and a path of ASCII."""
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    return (
        pseudo.get(b":method", b"") not in (b"", b"CONNECT")
        and pseudo[b":method"].isascii()
        and pseudo.get(b":path", b"\xff").isascii()
    )


def hypercorn_config(limits: Http2Config, log: Any) -> HypercornConfig:
    """hypercorn's settings, as far as what is left of it looks at them."""
    return HypercornConfig.from_mapping(
        include_server_header=False,
        keep_alive_timeout=limits.keep_alive_s,
        keep_alive_max_requests=_LAST_STREAM_ID,
        h2_max_concurrent_streams=limits.max_concurrent_streams,
        h2_max_header_list_size=limits.max_header_list_size,
        errorlog=log,
    )
