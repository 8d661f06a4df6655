"""`grpc.health.v1.Health`: serving, until the server leaves.

The servicer of `grpcio-health-checking` keeps a lock for every name that anybody ever asked for, and holds it while it
writes to who watches; its watchers never end by themselves. Only its messages are used.
"""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2 as pb

from patinox.transports.grpc.calls import Context

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING


class HealthService:
    """The health of the server (the empty name) and of the services named to it: one and the same."""

    def __init__(self, *services: str) -> None:
        self._names = frozenset(("", *services))
        self._leaving = asyncio.Event()

    def __repr__(self) -> str:
        return f"<HealthService {'leaving' if self._leaving.is_set() else 'serving'}>"

    def leave(self) -> None:
        """From now on it is not serving; who watches is told, and let go."""
        self._leaving.set()

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:  # noqa: N802
        """The health of one service; NOT_FOUND for one that is not here."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:140]!r}")
        return self._response

    async def List(self, request: pb.HealthListRequest, context: Context) -> pb.HealthListResponse:  # noqa: N802
        """The health of all."""
        return pb.HealthListResponse(statuses=dict.fromkeys(self._names, self._response))

    async def Watch(self, request: pb.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """The health of one service now, and when it changes."""
        if request.service in self._names:
            await context.write(self._response)
        else:
            await context.write(pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN))
        await self._leaving.wait()
        await context.write(self._response)

    @property
    def _response(self) -> pb.HealthCheckResponse:
        return pb.HealthCheckResponse(status=NOT_SERVING if self._leaving.is_set() else SERVING)
