"""Patinox: the streaming layer between whoever produces an answer and everyone who watches it.

    source ──▶ pipeline ──▶ StreamLog ─┬─▶ view(format) ──▶ frames ─┬─▶ subscription(cursor) ──▶ sink (SSE)
    (tokens,   (read the    (numbered  │   encoded once,            ├─▶ subscription(cursor) ──▶ sink (NDJSON)
     any        dialect,     chunks,   │   shared by all            └─▶ …
     iterator)  assemble)    a store)  └─▶ view(other format) ──▶ …

A stream is a numbered log, and a reader is a cursor on it. Write once; attach at any time, in any dialect, and miss
nothing. Start with `StreamManager`; `patinox.asgi` mounts it in a web application; `patinox serve` is a server of its
own.
"""

from patinox.config import (
    BackpressureConfig,
    BackpressureStrategy,
    Config,
    OnAbandon,
    OverflowStrategy,
    PaceTo,
    Retain,
    SseConfig,
    StreamingConfig,
    WebSocketConfig,
)
from patinox.core.attach import AttachOutcome, Gap
from patinox.core.backpressure import BackpressureHandler
from patinox.core.chunks import (
    Binary,
    ChunkData,
    End,
    Error,
    EventId,
    Json,
    Outcome,
    StreamChunk,
    Text,
)
from patinox.core.lifecycle import State
from patinox.core.log import ResponseBuffer, StreamLog
from patinox.delivery.wire import StreamType
from patinox.errors import (
    BufferFull,
    ConfigError,
    InputError,
    InvalidChunk,
    InvalidEventId,
    LimitExceeded,
    PatinoxError,
    ShuttingDown,
    StreamClosed,
    StreamExists,
    StreamGone,
    StreamNotFound,
    TooLarge,
    UnknownFormat,
    UpstreamError,
)
from patinox.formats.base import Format, Frame, Reader, StreamHead, Writer
from patinox.formats.losses import Loss
from patinox.formats.transformer import LossReport, StreamTransformer
from patinox.incremental.handler import IncrementalResponseHandler
from patinox.manager import ActiveStream, Relay, StreamManager
from patinox.stores.memory import MemoryStore
from patinox.transports.sse import SSEEvent, SSEFormatter, SSEHandler
from patinox.transports.websocket.hub import WebSocketHandler

__version__ = "0.1.0.dev0"

__all__ = [
    "ActiveStream",
    "AttachOutcome",
    "BackpressureConfig",
    "BackpressureHandler",
    "BackpressureStrategy",
    "Binary",
    "BufferFull",
    "ChunkData",
    "Config",
    "ConfigError",
    "End",
    "Error",
    "EventId",
    "Format",
    "Frame",
    "Gap",
    "IncrementalResponseHandler",
    "InputError",
    "InvalidChunk",
    "InvalidEventId",
    "Json",
    "LimitExceeded",
    "Loss",
    "LossReport",
    "MemoryStore",
    "OnAbandon",
    "Outcome",
    "OverflowStrategy",
    "PaceTo",
    "PatinoxError",
    "Reader",
    "Relay",
    "ResponseBuffer",
    "Retain",
    "SSEEvent",
    "SSEFormatter",
    "SSEHandler",
    "ShuttingDown",
    "SseConfig",
    "State",
    "StreamChunk",
    "StreamClosed",
    "StreamExists",
    "StreamGone",
    "StreamHead",
    "StreamLog",
    "StreamManager",
    "StreamNotFound",
    "StreamTransformer",
    "StreamType",
    "StreamingConfig",
    "Text",
    "TooLarge",
    "UnknownFormat",
    "UpstreamError",
    "WebSocketConfig",
    "WebSocketHandler",
    "Writer",
]
