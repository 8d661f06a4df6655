"""One request to an upstream, its answer read as it comes.

Three deadlines: connecting, the first byte of the answer, and the silence between two reads. Redirects are not
followed: an upstream is where the configuration says it is. The HTTP client's exceptions are mapped to ours here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from patinox.config import GatewayConfig
from patinox.core.trace import CURRENT
from patinox.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTimeout, UpstreamUnavailable
from patinox.gateway.observing import NoObserver, Observer
from patinox.gateway.speech import SPEECHES
from patinox.gateway.upstreams import Upstream

_MAX_ERROR_BYTES = 64 * 1024
_MAX_LISTING_BYTES = 4 * 2**20
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class UpstreamClient:
    """Asks upstreams over one pool of connections. An async context manager.

    What is asked on behalf of a trace says so, in `traceparent`. `observer` is told of each call.
    """

    def __init__(self, config: GatewayConfig, observer: Observer | None = None) -> None:
        self.observer: Observer = observer if observer is not None else NoObserver()
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<UpstreamClient {'open' if self._session is not None else 'closed'}>"

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout_s)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0), auto_decompress=True, trust_env=False
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()

    async def aclose(self) -> None:
        """Closes all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def ask(
        self, upstream: Upstream, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> UpstreamAnswer:
        """A POST of JSON to an upstream; nothing is sent until the answer is iterated."""
        return UpstreamAnswer(self._open, upstream, path, body, self._config, headers or {})

    async def list_models(self, upstream: Upstream, timeout_s: float = 3.0) -> list[dict[str, Any]]:
        """What the upstream itself lists: objects with an `id`. Raises `UpstreamError`."""
        speech = SPEECHES[upstream.dialect]
        try:
            async with asyncio.timeout(timeout_s):
                url, headers = f"{upstream.base_url()}{speech.listing}", {**upstream.headers(), **_trace()}
                async with self._open.get(url, headers=headers, allow_redirects=False) as response:
                    if response.status != 200:
                        raise UpstreamUnavailable(
                            f"{upstream.name} answered {response.status} when asked for its models"
                        )
                    value = msgspec.json.decode(await _up_to(response.content, _MAX_LISTING_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, *_NO_JSON) as error:
            raise _mapped(upstream, error, "being asked for its models") from error
        return speech.listed(value)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("UpstreamClient is used outside of `async with`")
        return self._session


class UpstreamAnswer:
    """The bytes of an answer, as an async iterator. `aclose` hangs up, whatever state it is in.

    Raises `UpstreamUnavailable`, `UpstreamTimeout`, `UpstreamRefused` (the upstream's own status and body) or
    `UpstreamMalformed` (not a stream of the dialect's kind). A connection that breaks after the first byte ends the
    iteration: what it means that the end is missing is for the dialect's reader to say. `retry_after` is that header of
    a refusal.
    """

    def __init__(
        self, session: aiohttp.ClientSession, upstream: Upstream, path: str, body: dict[str, Any],
        config: GatewayConfig, headers: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._session = session
        self._upstream = upstream
        self._path = path
        self._body = msgspec.json.encode(body)
        self._config = config
        self._headers = headers
        self._media_type = SPEECHES[upstream.dialect].media_type
        self._response: aiohttp.ClientResponse | None = None
        self._silence: _Silence | None = None
        self._is_first = True
        self.retry_after: str | None = None

    def __repr__(self) -> str:
        return f"<UpstreamAnswer {self._upstream.name}{self._path}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._is_first:
                async with asyncio.timeout(self._config.first_token_timeout_s or None):
                    response = self._response = await self._request()
                    data = await response.content.readany()
                self._silence = _Silence(response.content, self._config.idle_timeout_s)
            else:
                assert self._response is not None
                assert self._silence is not None
                self._silence.listen()
                data = await self._response.content.readany()
                self._silence.is_listening = False
        except TimeoutError as error:
            raise _mapped(self._upstream, error, "the request" if self._is_first else "its last token") from error
        except (aiohttp.ClientError, OSError) as error:
            if self._is_first:
                raise _mapped(self._upstream, error, "the request") from error
            raise StopAsyncIteration from error
        self._is_first = False
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Hangs up: the upstream sees its client gone and stops computing."""
        if self._silence is not None:
            self._silence.stop()
        if self._response is not None:
            self._response.close()

    async def _request(self) -> aiohttp.ClientResponse:
        sent = {"Content-Type": "application/json", "Accept": self._media_type}
        headers = {**sent, **_trace(), **self._upstream.headers(), **self._headers}
        url = f"{self._upstream.base_url()}{self._path}"
        response = await self._session.post(url, data=self._body, headers=headers, allow_redirects=False)
        if response.status == 200 and response.content_type == self._media_type:
            return response
        self.retry_after = response.headers.get("Retry-After")
        try:
            body = await _up_to(response.content, _MAX_ERROR_BYTES)
        finally:
            response.close()
        if response.status == 200:
            raise _unexpected(self._upstream, response.content_type, body)
        raise _refused(self._upstream, response.status, body)


class _Silence:
    """The deadline between two reads: one timer for a whole answer, moved on only when it goes off too early.

    A timeout made anew for each token would cost more than reading the token. It is silence only while somebody
    listens: an answer that is paced by its readers must not lose its upstream for that.
    """

    def __init__(self, content: aiohttp.StreamReader, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = content
        self._limit_s = limit_s
        self._since_s = self._loop.time()
        self.is_listening = False
        self._timer = self._loop.call_later(limit_s, self._look) if limit_s else None

    def listen(self) -> None:
        """Somebody waits for the next bytes, from now on."""
        self._since_s = self._loop.time()
        self.is_listening = True

    def stop(self) -> None:
        """There is nothing to wait for any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        left_s = self._since_s + self._limit_s - self._loop.time() if self.is_listening else self._limit_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:  # as the client's own read timeout does it: whoever reads is told
            self._content.set_exception(TimeoutError())


def _trace() -> dict[str, str]:
    current = CURRENT.get()
    return {} if current is None else {"traceparent": current.header()}


async def _up_to(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """A body up to `max_bytes`: a single `read` gives no more than what has arrived by now."""
    parts, left = [], max_bytes
    while left and (data := await content.read(left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _unexpected(upstream: Upstream, content_type: str, body: bytes) -> UpstreamError:
    value = _json(body)
    if isinstance(value, dict) and value.get("error"):  # an error with a status of 200: some proxies do
        return UpstreamRefused(_sentence(upstream, 200, value), status=502, body=_error_in(value))
    wanted = SPEECHES[upstream.dialect].media_type
    return UpstreamMalformed(f"{upstream.name} answered with {content_type}, not with a stream of {wanted}")


def _refused(upstream: Upstream, status: int, body: bytes) -> UpstreamRefused:
    value = _json(body)
    told = _error_in(value) if value is not None else body[:2000].decode(errors="replace") or None
    # A redirect, or an upstream that knows us by no key, is not the client's fault: it reads as a bad gateway.
    return UpstreamRefused(_sentence(upstream, status, value), status=status if 400 <= status < 600 else 502, body=told)


def _error_in(value: Any) -> Any:
    """The error of the envelope `{"error": …}` that all dialects use, or the body where it has no such thing."""
    if isinstance(value, list) and len(value) == 1:  # Gemini's, where it was asked for a list
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    return error if error else value


def _sentence(upstream: Upstream, status: int, value: Any) -> str:
    error = _error_in(value)
    message = error.get("message") if isinstance(error, dict) else error
    told = f": {message}" if isinstance(message, str) and message else ""
    return f"the upstream {upstream.name} answered {status}{told}"


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except _NO_JSON:
        return None


def _mapped(upstream: Upstream, error: Exception, since: str) -> UpstreamError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeout(f"connecting to the upstream {upstream.name} took too long")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"the upstream {upstream.name} was silent for too long after {since}")
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or error.os_error
        return UpstreamUnavailable(f"the upstream {upstream.name} cannot be reached: {reason}")
    if isinstance(error, _NO_JSON):
        return UpstreamMalformed(f"the upstream {upstream.name} did not answer with JSON")
    return UpstreamUnavailable(f"the connection to the upstream {upstream.name} broke: {type(error).__name__}")
