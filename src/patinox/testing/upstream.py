"""A model's server that says exactly what a test tells it to, byte by byte: OpenAI chat over SSE, or anything else.

    async with ScriptedUpstream() as upstream:
        gate = Gate()
        upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), DONE))
        ...                        # ask the gateway, whose upstream is at `upstream.url`
        await gate.reached()       # the answer stands here, and so does the model
        gate.open()                # … or hang up, and see it: `await upstream.asked[0].hung_up.wait()`

Nothing here waits on a clock. A step is sent when the one before it was, so what a test sees never depends on time.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import msgspec


class Gate:
    """Where an answer waits until the test opens it, or until the client hangs up. Left shut it is a silent model."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._reached = asyncio.Event()

    def open(self) -> None:
        """Lets every answer through, now and later."""
        self._opened.set()

    async def reached(self) -> None:
        """Waits until an answer stands here: everything before it was sent."""
        await self._reached.wait()

    async def passed(self) -> None:
        """What an answer does here."""
        self._reached.set()
        await self._opened.wait()


class Cut(msgspec.Struct, frozen=True):
    """Ends the connection: hard (RST), or with a FIN in the middle of the body where `gently`."""

    gently: bool = False


CUT = Cut()
"""Hard."""

Step = bytes | Gate | Cut


class Answer:
    """One HTTP answer, step by step. The head goes out with the first bytes (`b""` will do): a `Cut` or a `Gate`
    before them stands before the head. `stays_open` leaves the body without its end.
    """

    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        content_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        stays_open: bool = False,
    ) -> None:
        self.steps = steps
        self.status = status
        self.headers = {"Content-Type": content_type, **(headers or {})}
        self.stays_open = stays_open

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.steps)} steps>"


class Asked:
    """One request as it was seen: `method`, `path`, `headers` (names in lower case), `body` (JSON, or None).

    `hung_up` is set when the client left before its answer was whole, `answered` when the answer was sent whole.
    """

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.hung_up = asyncio.Event()
        self.answered = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Asked {self.method} {self.path}>"


class ScriptedUpstream:
    """The server, on a free loopback port. `asked` are the POSTs so far, `connections` how many were accepted.

    Each POST takes the next scripted answer; the last one serves all further ones. `GET /v1/models` lists `models`.
    """

    def __init__(self, *answers: Answer, models: tuple[str, ...] = ("scripted",)) -> None:
        self.models = models
        self.asked: list[Asked] = []
        self.connections = 0
        self.port = 0
        self._answers = deque(answers)
        self._arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<ScriptedUpstream {self.url}, {len(self.asked)} asked>"

    @property
    def url(self) -> str:
        """Where its API begins: `http://127.0.0.1:PORT/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Answer) -> None:
        """Says what the next requests are answered with, instead of what was said before."""
        self._answers = deque(answers)

    async def request(self, number: int = 1) -> Asked:
        """Waits for the `number`-th POST and gives it."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= number)
        return self.asked[number - 1]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead: bytes | None = b""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while ahead is not None:
                    ahead = await self._exchange(ahead, reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(self, ahead: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        asked = await _read_request(ahead, reader)
        if asked.method == "GET":
            listing = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            answer = Answer(json.dumps(listing).encode(), content_type="application/json")
            return b"" if await _send(answer, asked, writer) else None
        async with self._arrived:
            self.asked.append(asked)
            self._arrived.notify_all()
        answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        return await _unless_left(reader, asked, _send(answer, asked, writer))


async def _unless_left(reader: asyncio.StreamReader, asked: Asked, sending: Coroutine[Any, Any, bool]) -> bytes | None:
    """Sends, and sees when the client leaves meanwhile. What was read ahead, or None: this connection is over."""
    loop = asyncio.get_running_loop()
    sender, watcher = loop.create_task(sending), loop.create_task(reader.read(1))
    try:
        await asyncio.wait((sender, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not sender.done() and not watcher.exception() and watcher.result():
            await asyncio.wait((sender,))  # it sent its next request already
    finally:
        asked_again = b"" if watcher.cancel() or watcher.exception() else watcher.result()
        if sender.cancel():
            asked.hung_up.set()
        await asyncio.wait((sender, watcher))
    is_whole = not sender.cancelled() and sender.exception() is None and sender.result()
    return asked_again if is_whole else None


async def _read_request(ahead: bytes, reader: asyncio.StreamReader) -> Asked:
    head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, json.loads(body) if body else None)


async def _send(answer: Answer, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    head = _head(answer)
    for step in answer.steps:
        if isinstance(step, Gate):
            await step.passed()
        elif isinstance(step, Cut):
            _close(writer, gently=step.gently)
            return False
        else:
            writer.write(head + (b"%x\r\n%b\r\n" % (len(step), step) if step else b""))
            head = b""
            await writer.drain()
    if answer.stays_open:
        await Gate().passed()
    writer.write(head + b"0\r\n\r\n")
    await writer.drain()
    asked.answered.set()
    return True


def _close(writer: asyncio.StreamWriter, *, gently: bool) -> None:
    if not gently:  # closed with nothing to linger for, a socket sends RST (POSIX, SO_LINGER)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", "Transfer-Encoding: chunked"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in answer.headers.items()), "", ""]).encode()


# ── what an OpenAI-compatible server says ──

DONE = b"data: [DONE]\n\n"


def event(**fields: Any) -> bytes:
    """One `chat.completion.chunk` as an event; `fields` over the usual ones."""
    usual = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    return b"data: " + json.dumps({**usual, **fields}).encode() + b"\n\n"


def delta(index: int = 0, finish_reason: str | None = None, **fields: Any) -> bytes:
    """A delta of one choice. `logprobs` goes beside the delta, where it belongs."""
    beside = {"logprobs": fields.pop("logprobs")} if "logprobs" in fields else {}
    return event(choices=[{"index": index, "delta": fields, **beside, "finish_reason": finish_reason}])


def role(index: int = 0) -> bytes:
    """The first delta of a choice."""
    return delta(index, role="assistant", content="")


def said(text: str, index: int = 0) -> bytes:
    """A delta of text."""
    return delta(index, content=text)


def stopped(reason: str = "stop", index: int = 0) -> bytes:
    """The last delta of a choice."""
    return delta(index, reason)


def usage(prompt_tokens: int, completion_tokens: int) -> bytes:
    """The chunk with the usage and no choices, as `include_usage` asks for it."""
    total = prompt_tokens + completion_tokens
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
    return event(choices=[], usage=counts)


def words(*texts: str) -> Answer:
    """A whole, ordinary answer: the role, a delta for each text, the end, usage, `[DONE]`."""
    return Answer(role(), *map(said, texts), stopped(), usage(7, len(texts)), DONE)


def refusal(status: int, error: Any, **headers: str) -> Answer:
    """An error instead of an answer: `{"error": error}`. `Retry_After="7"` becomes that header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": error}).encode()
    return Answer(body, status=status, content_type="application/json", headers=named)
