"""Whether the gateway's calls are told to an OpenTelemetry collector. OpenTelemetry is imported only where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from patinox.config import TelemetryConfig
from patinox.gateway.observing import NoObserver, Observer
from patinox.server.listening import CouldNotStart


@asynccontextmanager
async def observing(config: TelemetryConfig) -> AsyncIterator[Observer]:
    """What observes the gateway; what it still holds is sent at the end. Raises `CouldNotStart` without its extra."""
    if not config.endpoint:
        yield NoObserver()
        return
    try:
        from patinox.server import otel
    except ModuleNotFoundError as error:
        raise CouldNotStart(
            'server.telemetry.endpoint needs OpenTelemetry, which is not installed: pip install "patinox[otel]"'
        ) from error
    providers = otel.exporting(config.endpoint)
    try:
        yield otel.GenAiObserver(*providers)
    finally:
        await asyncio.gather(*(asyncio.to_thread(provider.shutdown) for provider in providers))
