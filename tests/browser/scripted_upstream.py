"""A model's server that answers what the test says and stops where the test says: OpenAI chat over SSE.

It runs in threads of its own, so that tests which drive a browser synchronously can steer it without an event
loop. Nothing here waits on a clock: a held answer goes on when the test releases it or the client hangs up.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ScriptedUpstream:
    """What every request is answered with, and what was seen. One script at a time.

    `words` are sent one a chunk; before word `hold_at` the answer waits for `release()`; `breaks` ends the
    connection instead of the answer.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.hold_at: int | None = None
        self.breaks = False
        self.requests: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        self.release_reader, self._release_writer = socket.socketpair()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def text(self) -> str:
        return "".join(self.words)

    def release(self) -> None:
        """Lets every held answer go on, now and later."""
        self._release_writer.send(b"!")

    def reset(self) -> None:
        """Forgets the last test: whatever is still held goes on, and the next answer is held anew."""
        self.release()
        self._server.wait_for_answers()
        self.release_reader.recv(4096)
        self.words, self.hold_at, self.breaks = [], None, False
        self.requests.clear()
        self.hung_up.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.release_reader.close()
        self._release_writer.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    upstream: ScriptedUpstream

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.answering = 0
        self.idle = threading.Condition()

    def wait_for_answers(self) -> None:
        with self.idle:
            self.idle.wait_for(lambda: self.answering == 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the tests are about, not an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # the end of the body is the end of the connection
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}]}).encode()
        self._head("application/json")
        self.wfile.write(body)

    def do_POST(self) -> None:
        server = self.server
        with server.idle:
            server.answering += 1
        try:
            self._answer(server.upstream)
        except OSError:
            server.upstream.hung_up.set()
        finally:
            with server.idle:
                server.answering -= 1
                server.idle.notify_all()

    def _answer(self, upstream: ScriptedUpstream) -> None:
        length = int(self.headers["Content-Length"])
        upstream.requests.append(json.loads(self.rfile.read(length)))
        self._head("text/event-stream")
        self._delta({"role": "assistant", "content": ""})
        for place, word in enumerate(upstream.words):
            if place == upstream.hold_at and not self._released(upstream):
                upstream.hung_up.set()
                return
            self._delta({"content": word})
        if upstream.breaks:
            return
        self._delta({}, finish_reason="stop")
        count = len(upstream.words)
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _released(self, upstream: ScriptedUpstream) -> bool:
        """Waits for the release, which gives True, or for the client to hang up."""
        ready, _, _ = select.select([self.connection, upstream.release_reader], [], [])
        return upstream.release_reader in ready

    def _head(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def _event(self, fields: dict[str, Any]) -> None:
        frame = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "scripted",
            **fields,
        }
        self.wfile.write(b"data: " + json.dumps(frame).encode() + b"\n\n")
        self.wfile.flush()
