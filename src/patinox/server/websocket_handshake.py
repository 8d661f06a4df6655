"""The opening handshake of a WebSocket, on the server's side (RFC 6455 §4.2); bytes in, bytes out.

uvicorn's HTTP protocol has parsed the request, found that it asks for `websocket`, and hands it on as bytes again,
one `name: value` a line. What is wrong with it is answered in HTTP: 426 for another version, 400 for the rest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from patinox.server.websocket_deflate import Offer, parse_offers

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_VERSION = b"13"
_OURS = frozenset((b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions"))
_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_FORBIDDEN = frozenset(b"\r\n\0")


class Refused(Exception):
    """The request is no handshake. `status` and `headers` are what it is answered with."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = int(status)
        self.headers = headers or []


class Handshake(NamedTuple):
    """A client's request: where to, its headers (names in lower case), and what it offers."""

    target: str
    headers: Headers
    accept: bytes
    subprotocols: list[str]
    extensions: list[Offer]


def read_request(raw: bytes) -> Handshake:
    """Reads a whole request. Raises Refused."""
    request_line, *lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, _, rest = request_line.partition(b" ")
    target = rest.rpartition(b" ")[0]
    if method != b"GET" or not target.startswith(b"/"):
        raise Refused("a WebSocket is asked for with GET and a path")
    try:
        path = target.decode("ascii")
    except UnicodeDecodeError:
        raise Refused("the request's target must be ASCII") from None
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    check_host(headers)
    check_version(headers)
    return Handshake(path, headers, accept_key(headers), read_subprotocols(headers), read_extensions(headers))


def check_host(headers: Headers) -> None:
    """Raises Refused where there is not one `Host`."""
    if len(_values(headers, b"host")) != 1:
        raise Refused("one Host is needed")


def check_version(headers: Headers) -> None:
    """Raises Refused, with the version there is, for another one (§4.2.2, §4.4)."""
    if _values(headers, b"sec-websocket-version") != [_VERSION]:
        said = [(b"sec-websocket-version", _VERSION)]
        raise Refused("the version of WebSocket is 13", HTTPStatus.UPGRADE_REQUIRED, said)


def accept_key(headers: Headers) -> bytes:
    """The value of `Sec-WebSocket-Accept` for a request (§4.2.2). Raises Refused for a missing or malformed key."""
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1:
        raise Refused("one Sec-WebSocket-Key is needed")
    try:
        is_key = len(base64.b64decode(keys[0], validate=True)) == _KEY_BYTES
    except binascii.Error:
        is_key = False
    if not is_key:
        raise Refused("Sec-WebSocket-Key must be 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest())


def read_subprotocols(headers: Headers) -> list[str]:
    """What a client offers, in its order. Raises Refused for what is no token."""
    offered = [item.strip() for value in _values(headers, b"sec-websocket-protocol") for item in value.split(b",")]
    names = [name for name in offered if name]
    if not all(map(_is_token, names)):
        raise Refused("Sec-WebSocket-Protocol is malformed")
    return [name.decode("ascii") for name in names]


def read_extensions(headers: Headers) -> list[Offer]:
    """What a client offers (§9.1). Raises Refused where it is malformed."""
    try:
        return parse_offers(b",".join(_values(headers, b"sec-websocket-extensions")).decode("latin-1"))
    except ValueError as error:
        raise Refused(str(error)) from None


def accepted(
    accept: bytes, headers: Iterable[tuple[bytes, bytes]], *, subprotocol: str = "", extensions: str = ""
) -> bytes:
    """The 101 that ends the handshake, with the application's own headers. Raises ValueError for malformed ones."""
    own: Headers = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", accept),
    ]
    if extensions:
        own.append((b"sec-websocket-extensions", extensions.encode("ascii")))
    if subprotocol:
        own.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
    return head(HTTPStatus.SWITCHING_PROTOCOLS, own + [(n, v) for n, v in headers if n.lower() not in _OURS])


def head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A response's head. Raises ValueError for a header that would break it."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _phrase(status))]
    for name, value in headers:
        if not _is_token(name) or not _FORBIDDEN.isdisjoint(value):
            raise ValueError(f"no header can be {name!r}: {value!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines) + b"\r\n"


def denied(status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole response in plain text, after which the connection is closed."""
    own = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return head(status, [*own, *headers]) + body


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _is_token(name: bytes) -> bool:
    return bool(name) and _TCHAR.issuperset(name)


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""
