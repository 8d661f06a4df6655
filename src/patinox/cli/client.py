"""The calls that commands make on a server, and its errors as ours."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeGuard
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from patinox.errors import InputError, PatinoxError

TOKEN_VARIABLE = "PATINOX_TOKEN"  # noqa: S105  # where the key or token for the server stands, if it asks for one

_ALPHABET = string.ascii_letters + string.digits
_CONNECT_TIMEOUT_S = 10.0
_SILENCE_TIMEOUT_S = 120.0  # four heartbeats of a server with default settings: longer, and the line is dead
_PASSING = frozenset({408, 425, 429, 503})
_PASSING_FROM_A_PROXY = frozenset(
    {502, 504}
)  # while the server behind it restarts; from the server itself they are final


class Unreachable(PatinoxError):
    """The server could not be reached, or the connection to it broke; `connected` tells which."""

    code = "unreachable"
    http_status = 502

    def __init__(self, message: str, *, connected: bool = True) -> None:
        super().__init__(message)
        self.connected = connected


class Refused(PatinoxError):
    """The server answered with an error. `code` is its own ("" where it gave none), `http_status` the status."""

    def __init__(self, message: str, *, status: int, code: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.http_status = status
        self.reason = code
        self.retry_after_s = retry_after_s

    @property
    def is_passing(self) -> bool:
        """Whether the same call may well succeed a little later."""
        return self.http_status in _PASSING or (not self.reason and self.http_status in _PASSING_FROM_A_PROXY)


def new_stream_id() -> str:
    """An id nobody can guess: 131 random bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(22))


def base_url(text: str) -> str:
    """A server's URL without its last slash. Raises `InputError` for what is no http(s) URL."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"{text!r} is not a server's URL; one looks like http://127.0.0.1:8787")
    return text.rstrip("/")


class Server:
    """One server. An async context manager, which holds the connections."""

    def __init__(self, url: str) -> None:
        self.url = base_url(url)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Server {self.url}>"

    async def __aenter__(self) -> Server:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_SILENCE_TIMEOUT_S)
        # A compressed answer would be held back until there is enough of it.
        headers = {"User-Agent": f"patinox/{version('patinox')}", "Accept-Encoding": "identity"}
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {token}"
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, body: Mapping[str, Any], stream_id: str) -> str:
        """Starts a detached answer in the stream `stream_id`, or finds the one an earlier try has started."""
        headers = {"Patinox-Stream-Id": stream_id}
        answer = await self._call("POST", "/v1/chat/completions?detached=true", body, headers)
        return str(answer.get("id") or stream_id)

    async def cancel(self, stream_id: str, reason: str) -> None:
        """Stops a stream."""
        await self._call("POST", f"{stream_path(stream_id)}/cancel", {"reason": reason})

    async def snapshot(self, stream_id: str) -> dict[str, Any]:
        """The stream as it is now."""
        return await self._call("GET", stream_path(stream_id))

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        async with self.open(method, path, body=body, headers={"Accept": "application/json", **(headers or {})}) as got:
            content, status = await got.read(), got.status
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self.url} did not answer as a Patinox server does: {error}"
            raise Refused(message, status=status, code="") from error

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose status is fine; to be read within. Raises `Refused`, and `Unreachable` at any moment."""
        assert self._session is not None, "enter the server first"
        try:
            async with self._session.request(
                method, self.url + path, params=params, headers=headers, json=body, allow_redirects=False
            ) as response:
                if not 200 <= response.status < 300:
                    raise _refusal(response, await response.content.read(64 * 1024), self.url)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"{self.url}: {_reason(error)}", connected=not _never_connected(error)) from error


def stream_path(stream_id: str) -> str:
    """The path of a stream."""
    return f"/v1/streams/{quote(stream_id, safe='')}"


def _refusal(response: aiohttp.ClientResponse, content: bytes, url: str) -> Refused:
    try:
        error = msgspec.json.decode(content, type=dict[str, Any])["error"]
        code, message = str(error["code"]), str(error["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        code, message = "", f"{url} answered {response.status} {response.reason}"
    after = response.headers.get("Retry-After", "")
    seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0
    return Refused(message, status=response.status, code=code, retry_after_s=seconds)


def _never_connected(error: BaseException) -> TypeGuard[aiohttp.ClientConnectorError]:
    return isinstance(error, aiohttp.ClientConnectorError)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if _never_connected(error):
        why = os.strerror(number) if (number := error.os_error.errno or 0) > 0 else str(error.os_error.strerror)
        return f"cannot connect ({why.lower()}); is a server running there?"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection broke"
    return str(error) or type(error).__name__
