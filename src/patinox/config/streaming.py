"""`[streaming]`: everything the library itself can be told, with its defaults.

StreamingConfig            streaming                buffers, limits and lifetimes of streams
├── SseConfig              streaming.sse
├── WebSocketConfig        streaming.websocket
├── Http2Config            streaming.http2
├── GrpcConfig             streaming.grpc
└── BackpressureConfig     streaming.backpressure   when a reader lags, and what is done about it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from patinox.config.choices import BackpressureStrategy, OnAbandon, OverflowStrategy, PaceTo, Retain
from patinox.config.combinations import refusal
from patinox.config.kinds import Choice, Flag, Names
from patinox.config.quantities import Abandon, Count, Duration, Fraction, Size
from patinox.config.schema import Problem, Settings
from patinox.config.units import DAY_S, HOUR_S, KIB, MIB

if TYPE_CHECKING:
    from patinox.config.whole import Config


class SseConfig(Settings, frozen=True, kw_only=True):
    """Server-Sent Events (WHATWG HTML, section 9.2)."""

    table: ClassVar[str] = "streaming.sse"

    retry_interval_s: Annotated[
        float, Duration("How long a client waits before it reconnects, as `retry:` tells it.", most=HOUR_S)
    ] = 5.0
    max_connections: Annotated[
        int,
        Count("SSE and NDJSON readers connected to one process at once; more get 503.", least=1, most=1_000_000),
    ] = 10_000
    heartbeat_interval_s: Annotated[
        float,
        Duration("A connection silent for this long is sent a heartbeat.", most=HOUR_S, zero="no heartbeats"),
    ] = 30.0
    compression: Annotated[
        bool,
        Flag("Gzip, flushed at each event, for clients that accept it. Compression can leak secrets (BREACH)."),
    ] = False


class WebSocketConfig(Settings, frozen=True, kw_only=True):
    """WebSocket connections (RFC 6455)."""

    table: ClassVar[str] = "streaming.websocket"

    max_frame_size: Annotated[
        int,
        Size(
            "The largest message taken from a client; a larger one closes the socket with 1009.",
            least=1024,
            most=1 << 30,
        ),
    ] = 65_536
    compression: Annotated[bool, Flag("Per-message deflate (RFC 7692) for clients that offer it.")] = True
    ping_interval_s: Annotated[
        float, Duration("A socket silent for this long is sent a ping.", most=HOUR_S, zero="no pings")
    ] = 30.0
    max_subscriptions: Annotated[
        int, Count("Streams that one socket may be subscribed to at once.", least=1, most=100_000)
    ] = 100
    message_rate: Annotated[
        int,
        Count(
            "Messages a second that one client may send, on average; more close the socket with 4429.",
            zero="no limit",
        ),
    ] = 0
    allowed_origins: Annotated[
        tuple[str, ...],
        Names(
            "Origins of web pages that may open a socket, such as https://app.example.com, beside the server's "
            "own; * is any."
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Names(
            "Host names that a socket's handshake may ask for; where empty, any, but on a loopback address "
            "only this machine's own."
        ),
    ] = ()


class Http2Config(Settings, frozen=True, kw_only=True):
    """HTTP/2 connections (RFC 9113), where `server.http2_port` opens a port for them."""

    table: ClassVar[str] = "streaming.http2"

    max_concurrent_streams: Annotated[
        int,
        Count(
            "Requests open at once on one connection, readers among them (SETTINGS_MAX_CONCURRENT_STREAMS).",
            least=1,
            most=100_000,
        ),
    ] = 1000
    max_header_list_size: Annotated[
        int,
        Size(
            "The largest header section of a request, unpacked; beyond it the connection is closed.",
            least=4 * KIB,
            most=MIB,
        ),
    ] = 32 * KIB
    connection_window: Annotated[
        int,
        Size(
            "What one connection may have sent in request bodies that nobody has read yet; each request may 64 KiB.",
            least=64 * KIB,
            most=1024 * MIB,
        ),
    ] = 16 * MIB
    reset_burst: Annotated[
        int,
        Count(
            "Streams that a client may cancel or break, one right after the other, before its connection is closed "
            "(CVE-2023-44487, CVE-2025-8671).",
            least=1,
        ),
    ] = 1000
    resets_per_second: Annotated[
        int, Count("How many of these it is allowed anew each second, up to `reset_burst`.", least=1)
    ] = 33
    keep_alive_s: Annotated[
        float, Duration("A connection without a request for this long is closed.", least=1, most=DAY_S)
    ] = 75.0

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """A client that closes all its readers at once has done nothing wrong."""
        burst, streams = f"{cls.table}.reset_burst", f"{cls.table}.max_concurrent_streams"
        if at[burst] < at[streams]:
            yield Problem(
                (burst, streams),
                f"{burst} = {at[burst]} is below {streams} = {at[streams]}: a client that leaves all its streams at "
                f"once would lose its connection. Raise {burst}.",
            )


class GrpcConfig(Settings, frozen=True, kw_only=True):
    """gRPC connections, where `server.grpc_port` opens a port for them."""

    table: ClassVar[str] = "streaming.grpc"

    max_message_size: Annotated[
        int,
        Size(
            "The largest message taken from a client; a larger one ends its call with RESOURCE_EXHAUSTED.",
            least=KIB,
            most=1 << 30,
        ),
    ] = 4 * MIB
    max_metadata_size: Annotated[
        int,
        Size("The largest metadata of a call; a call with more is refused.", least=KIB, most=MIB),
    ] = 16 * KIB
    max_concurrent_streams: Annotated[
        int,
        Count("Calls open at once on one connection, readers among them; more wait in the client.", least=1),
    ] = 1024
    keepalive_interval_s: Annotated[
        float, Duration("A connection silent for this long is sent a ping.", least=1, most=DAY_S)
    ] = 30.0
    keepalive_timeout_s: Annotated[
        float, Duration("A connection that does not answer a ping for this long is closed.", least=1, most=HOUR_S)
    ] = 20.0
    min_ping_interval_s: Annotated[
        float,
        Duration("Clients that ping more often than this are sent away (ENHANCE_YOUR_CALM).", most=DAY_S),
    ] = 10.0
    max_idle_s: Annotated[
        float,
        Duration("A connection without a call for this long is closed.", least=1, most=DAY_S, zero="they may stay"),
    ] = 300.0
    reflection: Annotated[
        bool, Flag("Whether clients may ask for the service's description, as grpcurl does (gRPC server reflection).")
    ] = False


class BackpressureConfig(Settings, frozen=True, kw_only=True):
    """When a reader lags behind the head of its stream, and what is done about it."""

    table: ClassVar[str] = "streaming.backpressure"

    threshold: Annotated[int, Count("The high mark: chunks of lag at which a reader is under pressure.", least=1)] = 100
    threshold_bytes: Annotated[int, Size("The high mark in bytes; whichever of the two is reached first.")] = MIB
    low_mark: Annotated[
        float, Fraction("The low mark, as a fraction of the high one: at this much lag the pressure is over.")
    ] = 0.5
    strategy: Annotated[
        BackpressureStrategy,
        Choice("What happens at the high mark (see the table of combinations).", BackpressureStrategy),
    ] = BackpressureStrategy.PAUSE
    pace_to: Annotated[
        PaceTo,
        Choice("Whose pace the producer keeps when it waits: with `fastest` only when all readers lag.", PaceTo),
    ] = PaceTo.FASTEST
    stall_s: Annotated[
        float,
        Duration("A lagging reader without progress for this long is no longer waited for.", most=HOUR_S),
    ] = 5.0
    max_lag: Annotated[
        int,
        Count(
            "The hard bound: chunks of lag at which a reader is disconnected; it can resume.",
            least=1,
            zero="as far back as the log reaches",
        ),
    ] = 0
    max_lag_bytes: Annotated[
        int,
        Size(
            "The hard bound in bytes; whichever of the two is reached first.",
            zero="as far back as the log reaches",
        ),
    ] = 0

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """A hard bound below the high mark cuts a reader off before anything else can be tried."""
        if at[f"{cls.table}.strategy"] is BackpressureStrategy.BUFFER:
            return  # has no use for the high mark
        for mark, bound in (("threshold", "max_lag"), ("threshold_bytes", "max_lag_bytes")):
            mark, bound = f"{cls.table}.{mark}", f"{cls.table}.{bound}"
            if 0 < at[bound] < at[mark]:
                yield Problem(
                    (bound, mark),
                    f"{bound} = {at[bound]} is below {mark} = {at[mark]}: readers would be cut off before "
                    f"they are under pressure. Raise {bound}, or set it to 0 for none.",
                )

    @property
    def pacing(self) -> PaceTo:
        """`pace_to` where `pause` makes the producer wait at the high mark, `none` where nothing does."""
        return self.pace_to if self.strategy is BackpressureStrategy.PAUSE else PaceTo.NONE


class StreamingConfig(Settings, frozen=True, kw_only=True):
    """Buffers, limits and lifetimes of streams."""

    table: ClassVar[str] = "streaming"

    buffer_size: Annotated[
        int,
        Count("Chunks in the hot window that each open stream keeps in memory.", least=1, most=10_000_000),
    ] = 1000
    buffer_bytes: Annotated[int, Size("The hot window in bytes; it always holds the newest chunk, however large.")] = (
        4 * MIB
    )
    overflow_strategy: Annotated[
        OverflowStrategy,
        Choice(
            "What an append does when the hot window is full.",
            OverflowStrategy,
        ),
    ] = OverflowStrategy.DROP_OLDEST
    retain: Annotated[
        Retain,
        Choice("What a stream keeps unless it says otherwise: all its chunks, or only the hot window.", Retain),
    ] = Retain.FULL
    max_stream_bytes: Annotated[int, Size("The largest stream; one that grows beyond it ends `incomplete`.")] = 16 * MIB
    max_chunk_bytes: Annotated[int, Size("The largest chunk; a larger one is refused with 413.")] = MIB
    max_body_bytes: Annotated[int, Size("The largest request body; a larger one is refused with 413.")] = 16 * MIB
    max_streams: Annotated[int, Count("Streams held at once; one more is refused with 503.", least=1)] = 100_000
    max_streams_per_producer: Annotated[
        int,
        Count(
            "Open streams that one producer (a user, or where users are not known an address) may hold; "
            "one more is refused with 429.",
            zero="no limit",
        ),
    ] = 0
    max_streams_per_tenant: Annotated[
        int, Count("Open streams that all users of one tenant may hold; one more is refused with 429.", zero="no limit")
    ] = 0
    ttl_s: Annotated[float, Duration("How long a finished stream stays; afterwards it is gone (410).")] = DAY_S
    on_abandon: Annotated[
        OnAbandon, Abandon("What becomes of a stream that nobody watches any more, unless it says otherwise.")
    ] = OnAbandon()
    producer_timeout_s: Annotated[
        float,
        Duration(
            "A stream whose producer is silent for this long ends `interrupted`.",
            zero="producers may be silent",
        ),
    ] = 0.0
    flush_interval_s: Annotated[
        float,
        Duration(
            "At most this often is what was written taken to a store; the first chunk after silence goes at once.",
            most=1.0,
            zero="as often as it can",
        ),
    ] = 0.005
    store_timeout_s: Annotated[
        float, Duration("How long a write waits for a store that does not answer, before it fails.", most=HOUR_S)
    ] = 5.0
    lease_ttl_s: Annotated[
        float, Duration("Within this time after its node has died a stream ends `interrupted`.", most=HOUR_S)
    ] = 10.0
    max_connections_per_stream: Annotated[
        int, Count("Readers of one stream at once; one more is refused with 429.", zero="no limit")
    ] = 0
    max_connections_per_address: Annotated[
        int, Count("Readers from one network address at once; one more is refused with 429.", zero="no limit")
    ] = 0
    max_connections_per_user: Annotated[
        int, Count("Readers that one user has at once, where users are known; one more: 429.", zero="no limit")
    ] = 0
    max_connections_per_tenant: Annotated[
        int, Count("Readers that all users of one tenant have at once; one more: 429.", zero="no limit")
    ] = 0
    write_deadline_s: Annotated[
        float,
        Duration("A connection that takes nothing for this long is closed; its reader can resume.", most=HOUR_S),
    ] = 30.0
    drain_timeout_s: Annotated[
        float,
        Duration("How long a shutdown waits for readers to take what is left.", most=HOUR_S, zero="no waiting"),
    ] = 5.0
    drain_window_s: Annotated[
        float,
        Duration(
            "Over how long a shutdown spreads the moments at which readers come back elsewhere; few take less.",
            most=HOUR_S,
            zero="all at once",
        ),
    ] = 10.0
    sse: SseConfig = msgspec.field(default_factory=SseConfig)
    websocket: WebSocketConfig = msgspec.field(default_factory=WebSocketConfig)
    http2: Http2Config = msgspec.field(default_factory=Http2Config)
    grpc: GrpcConfig = msgspec.field(default_factory=GrpcConfig)
    backpressure: BackpressureConfig = msgspec.field(default_factory=BackpressureConfig)

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """Combinations of overflow, strategy and pace that contradict themselves (`combinations.py`)."""
        keys = (
            "streaming.overflow_strategy",
            "streaming.backpressure.strategy",
            "streaming.backpressure.pace_to",
        )
        found = refusal(at[keys[0]], at[keys[1]], at[keys[2]])
        if found is not None:
            stated = ", ".join(f'{key} = "{at[key]}"' for key in keys)
            yield Problem(keys, f"{stated} contradict each other: {found.reason}. Instead, {found.instead}.")

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> StreamingConfig:
        """The `streaming` part of `Config.load`, which says what may be given and raised."""
        return _whole().load(path, env, overrides).streaming

    @classmethod
    def from_toml(cls, text: str) -> StreamingConfig:
        """The settings of a TOML text; its other tables are validated and left. Raises ConfigError."""
        return _whole().from_toml(text).streaming


def _whole() -> type[Config]:
    from patinox.config.whole import Config  # which imports this module

    return Config
