"""The connection to NATS: conditional publishing, reading by sequence and subject, and being told.

One inbox takes all answers. What fails is a `StoreError` within `timeout_s`; while the connection is away everything
fails at once, and it comes back by itself.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from patinox.errors import StoreError
from patinox.stores.nats.address import Address

_WRONG_LAST = (10071, 10164)  # the server's codes: another message is the last of the subject, or about to be
_LIMITS: Any = {"pending_msgs_limit": -1, "pending_bytes_limit": -1}


class Found(msgspec.Struct, frozen=True):
    """A stored message."""

    subject: str
    sequence: int
    data: bytes


class Connection:
    """One connection. `came_back` is called when it was away and is there again, every subscription included."""

    def __init__(self, address: Address, came_back: Callable[[], None]) -> None:
        self.address = address
        self._came_back = came_back
        self._nc: Client | None = None
        self._is_away = False
        self._inbox = ""
        self._numbers = count(1)
        self._waiting: dict[str, tuple[asyncio.Future[list[Msg]], list[Msg]]] = {}

    def __repr__(self) -> str:
        return f"<Connection {self.address}>"

    async def open(self) -> None:
        """Connects. Raises `StoreError`."""
        if self._nc is not None:
            return
        address = self.address
        nc = Client()
        try:
            async with asyncio.timeout(address.timeout_s):  # it would try for ever
                await nc.connect(
                    list(address.servers), name="patinox", max_reconnect_attempts=-1,
                    reconnect_time_wait=0.1,  # type: ignore[arg-type] # seconds, whole or not
                    ping_interval=3, max_outstanding_pings=1, user_credentials=address.credentials,
                    error_cb=_ignore, disconnected_cb=self._disconnected, reconnected_cb=self._reconnected,
                )  # fmt: skip
        except (NatsError, OSError, TimeoutError) as error:
            await nc.close()
            raise self._failed(error) from error
        self._nc, self._is_away = nc, False
        self._inbox = nc.new_inbox()
        await self.subscribe(f"{self._inbox}.*", self._answered)

    async def aclose(self) -> None:
        """Closes it. Idempotent."""
        nc, self._nc = self._nc, None
        for future, _ in self._waiting.values():
            future.cancel()
        if nc is not None:
            await nc.close()

    @property
    def max_payload_bytes(self) -> int:
        """The largest message that the server takes."""
        return self._connected().max_payload

    @property
    def server_version(self) -> str:
        """As the server says it."""
        version = self._connected().connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    # ── asking ──

    async def ask(self, subject: str, question: Any) -> dict[str, Any]:
        """JetStream's answer to a question of its API. Raises `StoreError`; `error` is in it where it is said."""
        (answer,) = await self._request(subject, msgspec.json.encode(question), None, many=False)
        said: dict[str, Any] = msgspec.json.decode(answer.data)
        return said

    async def publish(
        self, subject: str, data: bytes, *, after: int | None = None, ttl_s: int | None = None
    ) -> int | None:
        """Stores a message; its sequence. None where `after` was not the last sequence on the subject."""
        headers = {}
        if after is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(after)
        if ttl_s is not None:
            headers["Nats-TTL"] = f"{ttl_s}s"
        (answer,) = await self._request(subject, data, headers or None, many=False)
        said = msgspec.json.decode(answer.data)
        if "error" not in said:
            return int(said["seq"])
        if said["error"].get("err_code") in _WRONG_LAST:
            return None
        raise StoreError(f"NATS at {self.address}: {said['error'].get('description')}")

    async def tell(self, subject: str, data: bytes) -> None:
        """Publishes what is not kept."""
        try:
            await self._connected().publish(subject, data)
        except (NatsError, OSError) as error:
            raise self._failed(error) from error

    async def get(self, stream: str, **which: Any) -> Found | None:
        """One message by `seq`, `last_by_subj`, `next_by_subj`; from the leader, so what was acknowledged is seen."""
        said = await self.ask(f"$JS.API.STREAM.MSG.GET.{stream}", which)
        if "error" in said:
            if said["error"].get("code") == 404:
                return None
            raise StoreError(f"NATS at {self.address}: {said['error'].get('description')}")
        message = said["message"]
        return Found(message["subject"], message["seq"], base64.b64decode(message.get("data", "")))

    async def page(self, stream: str, subject: str, begin: int, limit: int, max_bytes: int = 4 << 20) -> list[Found]:
        """Up to `limit` messages of a subject from a sequence on, from any replica: the newest may be missing."""
        question = {"seq": max(1, begin), "next_by_subj": subject, "batch": limit, "max_bytes": max_bytes}
        answers = await self._request(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(question), None, many=True)
        return [
            Found(answer.headers["Nats-Subject"], int(answer.headers["Nats-Sequence"]), answer.data)
            for answer in answers
            if answer.headers and "Nats-Sequence" in answer.headers
        ]

    async def purge(self, stream: str, subject: str, below: int) -> None:
        """Removes the messages of a subject with a sequence below `below`."""
        said = await self.ask(f"$JS.API.STREAM.PURGE.{stream}", {"filter": subject, "seq": below})
        if "error" in said:
            raise StoreError(f"NATS at {self.address}: {said['error'].get('description')}")

    async def flush(self) -> None:
        """Returns when the server has taken what was sent. Raises `StoreError`."""
        try:
            await self._connected().flush(timeout=max(1, round(self.address.timeout_s)))
        except (NatsError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    async def subscribe(self, subject: str, hear: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Has `hear` called with what is published on a subject from now on."""
        try:
            subscription = await self._connected().subscribe(subject, cb=hear, **_LIMITS)
            await self.flush()
        except (NatsError, OSError, TimeoutError) as error:
            raise self._failed(error) from error
        return subscription

    # ── within ──

    def _connected(self) -> Client:
        # Away until `came_back` was called: the client is connected, and answers, a round trip before it says so.
        if self._nc is None or self._is_away or not self._nc.is_connected:
            raise StoreError(f"NATS at {self.address}: not connected")
        return self._nc

    async def _request(self, subject: str, data: bytes, headers: Mapping[str, str] | None, *, many: bool) -> list[Msg]:
        nc = self._connected()
        token = str(next(self._numbers)) + ("m" if many else "")
        future: asyncio.Future[list[Msg]] = asyncio.get_running_loop().create_future()
        self._waiting[token] = (future, [])
        try:
            async with asyncio.timeout(self.address.timeout_s):
                await nc.publish(subject, data, reply=f"{self._inbox}.{token}", headers=headers)  # type: ignore[arg-type]
                return await future
        except (NatsError, OSError, TimeoutError) as error:
            raise self._failed(error) from error
        finally:
            del self._waiting[token]

    async def _answered(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        waiting = self._waiting.get(token)
        if waiting is None or waiting[0].done():
            return
        future, gathered = waiting
        status = message.headers.get("Status") if message.headers else None
        if status == "503":
            future.set_exception(StoreError(f"NATS at {self.address}: JetStream does not answer"))
        elif not token.endswith("m"):
            future.set_result([message])
        elif status in ("204", "404"):
            future.set_result(gathered)
        elif status is not None:
            future.set_exception(StoreError(f"NATS at {self.address}: {status} {message.headers}"))
        else:
            gathered.append(message)

    async def _disconnected(self) -> None:
        self._is_away = True

    async def _reconnected(self) -> None:
        self._is_away = False
        self._came_back()

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"NATS at {self.address}: {str(error) or type(error).__name__}")


async def _ignore(error: Exception) -> None:
    """What goes wrong with the connection is told to whoever asks next, and by `came_back`."""
