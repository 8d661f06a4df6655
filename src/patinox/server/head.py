"""The head of a request: how long it may take to come, and how large it may be.

A client that sends a byte now and then (slowloris) would keep a connection, and one that sends header after header the
memory. uvicorn with httptools has a bound for neither. The clock runs from the connection's beginning, or from the
first byte of a further request, to the head's last byte; what is over is answered 408 or 431 (RFC 6585 §5), and the
connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_ANSWER = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"connection: close\r\n\r\n%b"
)
_SLOW = b'{"error":{"code":"request_timeout","message":"the head of the request did not come in time"}}'
_LARGE = b'{"error":{"code":"headers_too_large","message":"the head of the request has more than %d bytes"}}'


class LimitedHead(HttpToolsProtocol):
    """uvicorn's protocol with both bounds. A timeout of 0 is none."""

    header_timeout_s = 10.0
    max_header_bytes = 32 * 1024

    _head_bytes = 0
    _is_in_head = True
    _is_refused = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock runs from here."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to a head that is not complete yet."""
        if self._is_refused:
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > self.max_header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", _LARGE % self.max_header_bytes)

    def on_message_begin(self) -> None:
        """A request begins: the connection's first, or another."""
        super().on_message_begin()
        if not self._is_in_head:
            self._begin_head(1)  # what came with it is not counted, but something did

    def on_headers_complete(self) -> None:
        """The head is there. One that is too large is not asked about by anybody."""
        self._end_head()
        size_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size_bytes > self.max_header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", _LARGE % self.max_header_bytes)
        if not self._is_refused:
            super().on_headers_complete()

    def _begin_head(self, head_bytes: int = 0) -> None:
        self._is_in_head, self._head_bytes = True, head_bytes
        if self.header_timeout_s and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _end_head(self) -> None:
        self._is_in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(b"408 Request Timeout", _SLOW)
        else:  # it never said anything: there is nothing to answer
            self.transport.close()

    def _refuse(self, status: bytes, body: bytes) -> None:
        if not self._is_refused:
            self._is_refused = True
            if not self._is_answering():
                self.transport.write(_ANSWER % (status, len(body), body))
            self.transport.close()

    def _is_answering(self) -> bool:
        """Whether an answer to an earlier request is under way, into which nothing may be written."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete


def limited_head(protocol: type[Any], *, header_timeout_s: float, max_header_bytes: int) -> type[Any]:
    """`protocol` with these bounds."""
    bounds = {"header_timeout_s": header_timeout_s, "max_header_bytes": max_header_bytes}
    return type(protocol.__name__, (protocol,), bounds)
