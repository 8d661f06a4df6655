"""The streams that both Patinox servers hold ready, and how the benchmark publishes to them."""

from __future__ import annotations

import sys

try:
    from patinox import ActiveStream, StreamManager
    from patinox.config.streaming import SseConfig, StreamingConfig
except ImportError as missing:
    print(f"Patinox is not there: {missing}", file=sys.stderr)
    sys.exit(3)

STREAMS = 1000
HEARTBEAT_S = 2.0
MAX_CONNECTIONS = 20_000
"""10,000 that come back while their old connections are still being noticed."""
_SSE = 'id: 123456789012-1000\nevent: text\ndata: {"text":""}\n\n'
_WEBSOCKET = 'head{"op":"chunk","stream":"0","id":"123456789012-1000","event":"text","data":{"text":""}}'
OVERHEAD_BYTES = len(_WEBSOCKET if "patinox.v1" in sys.argv else _SSE)

config = StreamingConfig(sse=SseConfig(heartbeat_interval_s=HEARTBEAT_S, max_connections=MAX_CONNECTIONS))
manager = StreamManager(config)
streams: list[ActiveStream] = []


async def prepare() -> None:
    """Create the streams, named by their numbers."""
    streams.extend([await manager.create(id=str(number)) for number in range(STREAMS)])


async def publish(stream: int, text: str) -> None:
    """Append one chunk."""
    await streams[stream].write(text)
