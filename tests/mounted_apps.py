"""Applications that mount Patinox behind middlewares, for real servers to serve: `tests.mounted_apps:plain`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from patinox import StreamManager
from patinox.asgi import PatinoxApp


async def _passes_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


def mounted(*middleware: Middleware) -> Starlette:
    manager = StreamManager()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager:
            yield

    routes = [Mount("/", PatinoxApp(manager))]
    return Starlette(routes=routes, lifespan=lifespan, middleware=list(middleware))


plain = mounted()
base = mounted(Middleware(BaseHTTPMiddleware, dispatch=_passes_on))
gzipped = mounted(Middleware(GZipMiddleware, minimum_size=1))
