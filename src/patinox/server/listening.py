"""Sockets to listen on, and certificates: what may be wrong with them is said in a sentence, before anything starts."""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from patinox.config import Config


class CouldNotStart(Exception):
    """The server cannot start, and why: a sentence for its user."""


def bind(host: str, port: int, *, write_deadline_s: float = 0, option: str = "--port") -> socket.socket:
    """A listening socket. Raises `CouldNotStart` with what to do.

    Where the platform has it, its connections end when what was sent stays unacknowledged for `write_deadline_s` (RFC
    5482): a client that vanished without a word is noticed though the kernel took all that was written.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted sockets have it from the listening one
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(write_deadline_s * 1000))
        listener.bind((host, port))
        listener.listen(4096)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise CouldNotStart(f"cannot listen on {host}:{port}: {reason}. Choose another with {option}.") from error
    listener.setblocking(False)
    return listener


def address(listener: socket.socket, scheme: str = "http") -> str:
    """`http://127.0.0.1:8787` for a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Http2Port(NamedTuple):
    """Where HTTP/2 is spoken, and with what certificate, if any."""

    listener: socket.socket
    tls: ssl.SSLContext | None

    @property
    def url(self) -> str:
        """`https://…`, or `http://…` in the clear."""
        return address(self.listener, "http" if self.tls is None else "https")


def open_http2(config: Config) -> Http2Port | None:
    """The port for HTTP/2, where one is asked for. Raises `CouldNotStart`."""
    port = config.server.http2_port
    if port is None:
        return None
    if importlib.util.find_spec("hypercorn") is None:
        raise CouldNotStart('HTTP/2 needs hypercorn: pip install "patinox[http2]"')
    tls = tls_context(config.server.tls_cert, config.server.tls_key, ["h2", "http/1.1"])
    deadline_s = config.streaming.write_deadline_s
    return Http2Port(bind(config.server.host, port, write_deadline_s=deadline_s, option="--http2-port"), tls)


class GrpcPort(NamedTuple):
    """Where gRPC is to be spoken, and with what certificate and key (PEM), if any; `is_shared` with other workers."""

    host: str
    port: int
    certificate: tuple[bytes, bytes] | None
    is_shared: bool


def open_grpc(config: Config) -> GrpcPort | None:
    """The port for gRPC, where one is asked for: it can be had, and gRPC opens it itself. Raises `CouldNotStart`."""
    port, server = config.server.grpc_port, config.server
    if port is None:
        return None
    if any(importlib.util.find_spec(name) is None for name in ("grpc", "grpc_health", "grpc_reflection")):
        raise CouldNotStart('gRPC needs its packages: pip install "patinox[grpc]"')
    bind(server.host, port, option="--grpc-port").close()  # whose reasons are better than gRPC's
    if tls_context(server.tls_cert, server.tls_key, ["h2"]) is None:
        return GrpcPort(server.host, port, None, server.workers > 1)
    certificate = Path(server.tls_cert).read_bytes(), Path(server.tls_key).read_bytes()
    return GrpcPort(server.host, port, certificate, server.workers > 1)


def tls_context(certificate: str, key: str, protocols: list[str]) -> ssl.SSLContext | None:
    """TLS 1.2 or newer that offers `protocols` by ALPN; None without a certificate. Raises `CouldNotStart`.

    HTTP/2 over TLS 1.2 asks for ciphers with ephemeral keys and AEAD, and for no compression (RFC 9113 §9.2).
    """
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(protocols)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise CouldNotStart(f"cannot use the certificate {certificate} with the key {key}: {reason}.") from error
    return context


def _no_password() -> str:
    raise ValueError("the key has a password, which there is nobody to ask for")
