"""Starting and ending the server.

    bind → manager, client and model are entered → serve → a signal → not ready → readers are sent away → exit

The listening socket is ours, so a taken port is a sentence and exit code 3. On SIGINT and SIGTERM the server says that
it is not ready, which SIGTERM has it wait for (`drain_delay`). Then what ends with it ends as `interrupted`, readers
are sent away (`manager/departure.py`), and it leaves when they have what is left, or after `drain_timeout`. A second
signal leaves without waiting. SIGHUP has the settings read again (`presence.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self

import uvicorn

from patinox.config import Config, ConfigError
from patinox.gateway.client import UpstreamClient
from patinox.gateway.local_model import LocalModel
from patinox.gateway.upstreams import configured
from patinox.manager import StreamManager
from patinox.manager.pipelines import Pipelines
from patinox.manager.recipes import configured_pipelines
from patinox.server import logs
from patinox.server.app import ServerApp
from patinox.server.auth.guard import Guard
from patinox.server.auth.identities import Identities
from patinox.server.connection import StreamingHttpProtocol
from patinox.server.head import limited_head
from patinox.server.listening import CouldNotStart, GrpcPort, Http2Port, address, bind, open_grpc, open_http2
from patinox.server.notify import Notifier
from patinox.server.presence import Load, Presence
from patinox.server.quotas import Quotas
from patinox.server.telemetry import observing
from patinox.server.websocket import websocket_protocol
from patinox.server.workers import Workers, check_workers, manager_of
from patinox.transports.access import Access
from patinox.transports.origins import is_loopback

if TYPE_CHECKING:
    from patinox.transports.grpc.server import GrpcServer

OK, INSISTED, COULD_NOT_START = 0, 1, 3
_OTHER_FILES = 256  # beside the readers: upstreams, logs, the model, the event loop

Say = Callable[[str], None]


def serve(config: Config, say: Say | None = None, load: Load | None = None) -> int:
    """Runs the server until it is told to end; returns the exit code.

    `say` takes lines for the user; `load` reads the settings anew, on SIGHUP.
    """
    tell = say if say is not None else _print
    logs.set_up(config.server.log_level, config.server.log_format)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    with ExitStack() as stack:
        try:
            check_workers(config)
            check_doors(config)
            pipelines = make_pipelines(config)
            identities = make_identities(config)
            raise_open_files(config.streaming.sse.max_connections)
            deadline_s = config.streaming.write_deadline_s
            listener = stack.enter_context(bind(config.server.host, config.server.port, write_deadline_s=deadline_s))
            http2 = open_http2(config)
            grpc = open_grpc(config)
        except CouldNotStart as error:
            return _refused(error)
        if http2 is not None:
            stack.enter_context(http2.listener)

        def work(number: int) -> int:
            said = tell if number == 1 else _silent
            with EndSignals() as signals:
                run = asyncio.run if sys.platform == "win32" else _run_on_uvloop
                try:
                    run(_serve(config, pipelines, identities, listener, http2, grpc, said, signals, load))
                except CouldNotStart as error:
                    return _refused(error)
            return OK

        return work(1) if config.server.workers == 1 else Workers(config.server.workers, work).run()


def _refused(error: CouldNotStart) -> int:
    print(f"patinox: {error}", file=sys.stderr)
    return COULD_NOT_START


def raise_open_files(max_connections: int) -> None:
    """Lifts the soft limit of open files to the hard one. Raises `CouldNotStart` where all connections don't fit."""
    if sys.platform == "win32":
        return
    import resource

    needed = max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:  # which some systems have and don't let a process set
        if soft != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if needed > hard:
        raise CouldNotStart(
            f"streaming.sse.max_connections = {max_connections} needs {needed} open files, "
            f"and this process may have {hard}. Set it to {max(1, hard - _OTHER_FILES)} or less, or raise the limit "
            "(ulimit -n)."
        )


def check_open_files(config: Config) -> None:
    """Raises `ConfigError` for more connections than this process can have, as settings that are read again may ask."""
    try:
        raise_open_files(config.streaming.sse.max_connections)
    except CouldNotStart as error:
        raise ConfigError(str(error)) from error


def check_doors(config: Config) -> None:
    """Raises `CouldNotStart` where the server would be open to a network on which nobody is asked who they are."""
    server = config.server
    if config.auth.is_on or server.insecure or is_loopback(server.host):
        return
    raise CouldNotStart(
        f"server.host = {server.host!r} lets other machines in, and nobody would be asked who they are. Configure "
        "[auth.keys.NAME] (`patinox key NAME` makes one) or [auth.jwt], or say --insecure if something before this "
        "server asks."
    )


def make_identities(config: Config) -> Identities | None:
    """What proves who somebody is; None where nobody is asked. Raises `CouldNotStart`."""
    if not config.auth.is_on:
        return None
    try:
        return Identities(config.auth, os.environ)
    except ConfigError as error:
        raise CouldNotStart(error.message) from error


def make_pipelines(config: Config) -> Pipelines:
    """The configured pipelines. Raises `CouldNotStart` for one that cannot be made."""
    try:
        return configured_pipelines(config.pipelines, config.server.pipeline)
    except ConfigError as error:
        raise CouldNotStart(error.message) from error


class EndSignals:
    """SIGINT and SIGTERM, from before the server starts until it has ended: the first asks it to end, a second insists.

    uvicorn's own handlers raise the signal again when it has ended, which would take the exit code with it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False
        self._server: Server | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._asked) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def govern(self, server: Server) -> None:
        """Says which server is to end."""
        self._server = server
        server.should_exit = self.asked

    def _asked(self, number: int, frame: object) -> None:
        if self.asked:
            # Nothing is waited for: the embedded model hangs on a pipe of ours, and leaves when that closes.
            os._exit(INSISTED)
        self.asked, self.at_once = True, number == signal.SIGINT
        if self._server is not None:
            self._server.should_exit = True


class Beside(Protocol):
    """Another listener of the same server, which starts and ends with it."""

    async def start(self) -> None:
        """Begins to accept."""
        ...

    def end(self) -> None:
        """Accepts no more, and ends each connection with the last of what it carries."""
        ...

    async def aclose(self) -> None:
        """Ends its connections: at once those that take nothing."""
        ...


class Server(uvicorn.Server):
    """uvicorn's server, but the streams end before it waits for the connections that carry them.

    `presence` and `signals` are there where it is a process of its own.
    """

    def __init__(
        self, config: uvicorn.Config, manager: StreamManager, presence: Presence | None = None,
        signals: EndSignals | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config)
        self._manager = manager
        self._presence = presence
        self._signals = signals
        self.beside: list[Beside] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept, here and beside."""
        await super().startup(sockets)
        for listener in self.beside:
            await listener.start()
        if self._presence is not None:
            self._presence.started()

    def make_protocol(self) -> asyncio.Protocol:
        """The protocol for a connection that another listener has accepted."""
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone: they are `EndSignals`' business."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens no more, ends all streams, lets their readers take what is left, and ends the connections."""
        if self._presence is not None:
            await self._presence.leaving(at_once=self._signals is None or self._signals.at_once)
        for server in self.servers:
            server.close()
        for listener in self.beside:
            listener.end()
        await self._manager.aclose()
        await asyncio.gather(super().shutdown(sockets), *(listener.aclose() for listener in self.beside))
        for connection in tuple(self.server_state.connections):  # they had their time, and take nothing
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        if self._presence is not None:
            self._presence.left()


async def _serve(
    config: Config,
    pipelines: Pipelines,
    identities: Identities | None,
    listener: socket.socket,
    http2: Http2Port | None,
    grpc: GrpcPort | None,
    say: Say,
    signals: EndSignals,
    load: Load | None,
) -> None:
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(observing(config.server.telemetry))
        manager = await stack.enter_async_context(manager_of(config, pipelines))
        client = await stack.enter_async_context(UpstreamClient(config.gateway, observer))
        local = _local_model(config, say)
        if local is not None:
            await stack.enter_async_context(local)
        upstreams = configured(config, os.environ, local)
        quotas = Quotas(config.quotas, time.monotonic)
        access = Access(manager)
        if identities is not None:
            stack.push_async_callback(identities.aclose)
            access = Guard(manager, identities, quotas)
        app = stack.enter_context(ServerApp(manager, upstreams, client, access, config.server, quotas))
        notifier = Notifier(os.environ)
        presence = Presence(config, manager, app.health, notifier, say, load=load, check=check_open_files)
        server = Server(uvicorn_config(app, config), manager, presence, signals)
        if http2 is not None:
            server.beside.append(http2_listener(app, server, http2))
        grpc_server = None if grpc is None else grpc_listener(app, grpc)
        if grpc_server is not None:
            server.beside.append(grpc_server)
        signals.govern(server)
        where = address(listener)
        say(f"Patinox is on {where}")
        if http2 is not None:
            say(f"  HTTP/2     {http2.url} ({'prior knowledge' if http2.tls is None else 'TLS'})")
        if grpc_server is not None:
            say(f"  gRPC       {grpc_server.address} ({'TLS' if grpc_server.is_secure else 'in the clear'})")
        say(f"  store      {manager.store.durability}")
        say(f"  access     {'by token or key' if identities is not None else 'anybody who gets here'}")
        for upstream in upstreams:
            say(f"  upstream   {upstream}{' (default)' if upstream is upstreams.default else ''}")
        say("  Ctrl-C ends it")
        announcing = asyncio.create_task(_announce(local, say)) if local is not None else None
        try:
            await server.serve(sockets=[listener])
        finally:
            if announcing is not None:
                announcing.cancel()
                await asyncio.wait([announcing])


def http2_listener(app: ServerApp, server: Server, port: Http2Port) -> Beside:
    """HTTP/2 beside a server, with its application. Its packages are an extra, so they are imported here."""
    from patinox.server.http2.listener import Http2Listener

    return Http2Listener(app, app.manager.config, port.listener, port.tls, server.make_protocol)


def grpc_listener(app: ServerApp, port: GrpcPort) -> GrpcServer:
    """gRPC beside a server, on its manager and through its door; in the event loop that it will run in.

    Raises `CouldNotStart` where somebody else has taken the port meanwhile.
    """
    from patinox.transports.grpc.server import Certificate, GrpcServer

    server = GrpcServer(app.manager, access=app.access, shares_port=port.is_shared)
    try:
        server.bind(port.host, port.port, None if port.certificate is None else Certificate(*port.certificate))
    except OSError as error:
        raise CouldNotStart(f"gRPC cannot listen on {port.host}:{port.port}: {error}") from error
    return server


def _local_model(config: Config, say: Say) -> LocalModel | None:
    if not config.server.local_model:
        return None
    missing = LocalModel.available()
    if missing is None:
        return LocalModel()
    say(f"  no embedded model: {missing}")
    return None


async def _announce(local: LocalModel, say: Say) -> None:
    say("  model      loading …")
    try:
        await local.wait_ready()
    except Exception as error:
        say(f"  model      {error}")
    else:
        say(f"  model      {local.model_id} is ready")


def uvicorn_config(app: ServerApp, config: Config) -> uvicorn.Config:
    """How uvicorn is run: the application's own settings, and nothing that it would log or add."""
    return uvicorn.Config(
        app,
        loop="none",
        http=limited_head(
            StreamingHttpProtocol,
            header_timeout_s=config.server.header_timeout_s,
            max_header_bytes=config.server.max_header_bytes,
        ),
        lifespan="off",
        ws=websocket_protocol(config.streaming.websocket),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,  # by then every reader had its `drain_timeout`
    )


def _run_on_uvloop(main: object) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)  # type: ignore[arg-type]


def _is_news(record: logging.LogRecord) -> bool:
    # A plain-text reader of a failed stream is cut off without a last chunk, on purpose: that is the honest ending.
    # A shutdown that some reader did not wait for is no error either.
    said = record.getMessage()
    return said != "ASGI callable returned without completing response." and not said.startswith("Cancel ")


def _silent(line: str) -> None:
    """What the first worker has said already."""


def _print(line: str) -> None:
    print(line, flush=True)
