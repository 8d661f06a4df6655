"""The measuring of `patinox doctor`: one stream of its own, written and read through whatever lies between.

    writer   POST chunk 0 … spacing … POST chunk 1 …            finish, delete
    plain    ── head ── chunk 0 ───────── chunk 1 …             when does each arrive?
    packed   the same, but allows gzip                          does compression hold anything back?
    resumed  leaves in the middle, comes back with its id       is anything missing or doubled?

Written and read in one process, so that one clock has all times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import aiohttp
import msgspec

from patinox.cli.client import Refused, Server, new_stream_id, stream_path
from patinox.cli.doctor_findings import Measured, Reading
from patinox.cli.pieces import SseCutter, WireEvent
from patinox.errors import PatinoxError

_TTL = "10m"  # for a stream that could not be deleted


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to examine: `chunks` of them, `spacing_s` apart, then `quiet_s` of silence to hear a heartbeat.

    `head_s` is how long a reader's head may take before writing begins all the same, `patience_s` how long readers may
    take to the end once the stream has ended.
    """

    chunks: int = 8
    spacing_s: float = 0.3
    quiet_s: float = 0.0
    head_s: float = 2.0
    patience_s: float = 10.0


async def measure(url: str, plan: Plan) -> Measured:
    """Examines the path to the server at `url`, and leaves no stream behind.

    Raises `InputError` for what is no URL, `Unreachable` and `Refused` where no stream can be made and written there.
    """
    async with Server(url) as server:
        ready = await _readiness(server)
        stream_id = new_stream_id()
        body = {"id": stream_id, "ttl": _TTL, "metadata": {"by": "patinox doctor"}}
        async with server.open("POST", "/v1/streams", body=body) as answer:
            by, version = _answered_by(answer), _version(answer)
        try:
            examination = _Examination(server, stream_id, plan)
            await examination.run()
        finally:
            undeleted = await _delete(server, stream_id)
        return examination.measured(ready=ready, answered_by=by, http_version=version, undeleted=undeleted)


class _Reader:
    """One reader, and what it saw. With `cut_at` it leaves after that chunk, and comes back."""

    def __init__(
        self, server: Server, stream_id: str, *, encoding: str = "identity", cut_at: int | None = None
    ) -> None:
        self.attached = asyncio.Event()
        self.heard = asyncio.Event()
        self._server = server
        self._path = stream_path(stream_id)
        self._encoding = encoding
        self._cut_at = cut_at
        self._headers: dict[str, str] = {}
        self._numbers: list[int] = []
        self._arrived_s: dict[int, float] = {}
        self._outcome = ""
        self._broke = "it did not end in time"

    async def run(self) -> None:
        """Reads to the end."""
        try:
            last_id = await self._read({})
            if last_id:
                await self._read({"Last-Event-ID": last_id})
            self._broke = ""
        except PatinoxError as error:
            self._broke = error.message
        finally:
            self.attached.set()

    def reading(self) -> Reading:
        """What it has seen so far."""
        return Reading(
            headers=self._headers, numbers=tuple(self._numbers), arrived_s=self._arrived_s,
            outcome=self._outcome, broke=self._broke,
        )  # fmt: skip

    async def _read(self, place: Mapping[str, str]) -> str:
        """One connection; gives the event id at which it left early, "" after the end."""
        clock = asyncio.get_running_loop().time
        headers = {"Accept": "text/event-stream", "Accept-Encoding": self._encoding, **place}
        async with self._server.open("GET", self._path, headers=headers) as answer:
            self._headers = {name.lower(): value for name, value in answer.headers.items()}
            self.attached.set()
            if answer.content_type != "text/event-stream":
                raise Refused(f"the stream was answered with {answer.content_type}", status=answer.status, code="")
            cutter = SseCutter()
            async for data in answer.content.iter_any():
                if b"\n:" in b"\n" + data:
                    self.heard.set()
                for event in cutter.feed(data):
                    number = self._take(event, clock())
                    if number is not None and number == self._cut_at and not place:
                        return event.id
                    if event.event == "end":
                        return ""
        raise Refused("the answer ended before the stream did", status=answer.status, code="")

    def _take(self, event: WireEvent, now_s: float) -> int | None:
        """The number in a chunk of ours."""
        if event.event == "position":
            self._outcome = str(_object(event.data).get("outcome", ""))
        if event.event != "json":
            return None
        number = _object(event.data).get("n")
        if isinstance(number, int):
            self._numbers.append(number)
            self._arrived_s.setdefault(number, now_s)
            return number
        return None


class _Examination:
    """One stream with its writer and three readers."""

    def __init__(self, server: Server, stream_id: str, plan: Plan) -> None:
        self._server = server
        self._path = stream_path(stream_id)
        self._plan = plan
        self._plain = _Reader(server, stream_id)
        self._packed = _Reader(server, stream_id, encoding="gzip")
        self._resumed = _Reader(server, stream_id, cut_at=(plan.chunks - 1) // 2)
        self._sent_s: list[float] = []
        self._answered_s: list[float] = []
        self._heartbeat_s: float | None = None

    async def run(self) -> None:
        """Writes and reads; every reader has ended when it returns."""
        readers = (self._plain, self._packed, self._resumed)
        tasks = [asyncio.create_task(reader.run(), name="patinox doctor reader") for reader in readers]
        try:
            # A proxy that buffers keeps the heads too: that must not stop the writer.
            await _within(self._plan.head_s, asyncio.gather(*(reader.attached.wait() for reader in readers)))
            await self._write()
            if self._plan.quiet_s:
                await self._listen()
            await self._post("finish", {})
            await asyncio.wait(tasks, timeout=self._plan.patience_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def measured(self, **facts: Any) -> Measured:
        """All of it, with the `facts` of the calls around."""
        return Measured(
            sent_s=tuple(self._sent_s), answered_s=tuple(self._answered_s),
            plain=self._plain.reading(), packed=self._packed.reading(), resumed=self._resumed.reading(),
            quiet_s=self._plan.quiet_s, heartbeat_s=self._heartbeat_s, **facts,
        )  # fmt: skip

    async def _write(self) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        for number in range(self._plan.chunks):
            await asyncio.sleep(max(0.0, began_s + number * self._plan.spacing_s - clock()))
            self._sent_s.append(clock())
            await self._post("chunks", {"event": "json", "data": {"n": number}})
            self._answered_s.append(clock())

    async def _listen(self) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        self._plain.heard.clear()
        if await _within(self._plan.quiet_s, self._plain.heard.wait()):
            self._heartbeat_s = clock() - began_s

    async def _post(self, call: str, body: Mapping[str, Any]) -> None:
        async with self._server.open("POST", f"{self._path}/{call}", body=body) as answer:
            await answer.read()


async def _within(seconds: float, happening: Awaitable[object]) -> bool:
    """Whether it happened in time."""
    try:
        async with asyncio.timeout(seconds):
            await happening
    except TimeoutError:
        return False
    return True


async def _readiness(server: Server) -> str:
    """What stands against sending it work; "" if nothing does."""
    try:
        async with server.open("GET", "/readyz", headers={"Accept": "application/json"}) as answer:
            status = _object(await answer.read()).get("status")
    except Refused as error:
        return error.message
    return "" if status == "ready" else "the answer is not that of a Patinox server"


async def _delete(server: Server, stream_id: str) -> str:
    try:
        async with server.open("DELETE", stream_path(stream_id)):
            return ""
    except PatinoxError as error:
        return error.message


def _answered_by(answer: aiohttp.ClientResponse) -> str:
    said = (answer.headers.get("Via", ""), answer.headers.get("Server", ""))
    return ", ".join(word for word in said if word)


def _version(answer: aiohttp.ClientResponse) -> tuple[int, int]:
    version = answer.version
    return (version.major, version.minor) if version is not None else (1, 0)


def _object(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
