"""The gRPC server: one port, in the event loop and on the manager of everything else.

    bind → start → serve → end (health says no, GOAWAY) → the streams end and tell their readers → aclose

Beside `patinox.v1.Streams` it serves `grpc.health.v1.Health` and, where the settings say so, server reflection.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import DESCRIPTOR as HEALTH_FILE
from grpc_reflection.v1alpha import reflection

from patinox.config.streaming import GrpcConfig
from patinox.manager import StreamManager
from patinox.transports.access import Access
from patinox.transports.grpc.health import HealthService
from patinox.transports.grpc.service import SERVICE, StreamsService

_LAST_ANSWERS_S = 1.0  # for calls that are no readers, when those have had their `drain_timeout`
_PING_STRIKES = 2


class Certificate(NamedTuple):
    """A certificate with its chain, and its private key, both PEM."""

    chain: bytes
    key: bytes


class GrpcServer:
    """Serves one manager. Made in the event loop that it runs in; `start` after `bind`, `aclose` at the end.

    `shares_port` is for several processes on one port (SO_REUSEPORT): the kernel gives each its part of connections.
    """

    def __init__(self, manager: StreamManager, *, access: Access | None = None, shares_port: bool = False) -> None:
        config = manager.config.grpc
        self.streams = StreamsService(manager, access=access)
        self._grace_s = manager.config.drain_window_s + manager.config.drain_timeout_s + _LAST_ANSWERS_S
        self._server = grpc.aio.server(
            options=server_options(config, manager.config.sse.max_connections, shares_port=shares_port)
        )
        self._health = HealthService(SERVICE)
        self._stopping: asyncio.Task[None] | None = None
        self.address = ""
        self.is_secure = False
        self.streams.add_to(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            health = HEALTH_FILE.services_by_name["Health"].full_name
            names = (SERVICE, health, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    def __repr__(self) -> str:
        return f"<GrpcServer {self.address}, {self.streams.readers} readers>"

    def bind(self, host: str, port: int, certificate: Certificate | None = None) -> int:
        """Listens on an address, by TLS where there is a certificate; returns the port, for 0 any free one.

        Raises OSError where that can't be had.
        """
        where = f"[{host}]" if ":" in host else host
        try:
            if certificate is None:
                bound = self._server.add_insecure_port(f"{where}:{port}")
            else:
                credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
                bound = self._server.add_secure_port(f"{where}:{port}", credentials)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        self.address, self.is_secure = f"{where}:{bound}", certificate is not None
        return bound

    async def start(self) -> None:
        """Begins to serve."""
        await self._server.start()

    def end(self) -> None:
        """Health says no, and every connection that nothing new is taken (GOAWAY); running calls go on."""
        self._health.leave()
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._server.stop(self._grace_s))

    async def aclose(self) -> None:
        """Ends what is left of the calls, when the manager has ended its readers."""
        self.end()
        assert self._stopping is not None
        await asyncio.wait((self._stopping,), timeout=_LAST_ANSWERS_S)
        await self._server.stop(None)
        await self._stopping


def server_options(config: GrpcConfig, max_connections: int, *, shares_port: bool = False) -> list[tuple[str, Any]]:
    """The settings as arguments of gRPC's core (grpc_types.h, channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", int(shares_port)),  # else a port that is taken is an error
        ("grpc.max_receive_message_length", config.max_message_size),
        ("grpc.max_metadata_size", config.max_metadata_size),
        ("grpc.absolute_max_metadata_size", config.max_metadata_size),  # between the two calls are refused at random
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.keepalive_time_ms", _ms(config.keepalive_interval_s)),
        ("grpc.keepalive_timeout_ms", _ms(config.keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # as many of ours as it takes
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(config.min_ping_interval_s)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
        *([("grpc.max_connection_idle_ms", _ms(config.max_idle_s))] if config.max_idle_s else []),
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
