"""A browser over TLS: more streams at once than HTTP/1.1's six connections, and all the page can do."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from tests.certificates import self_signed

pytestmark = pytest.mark.browser

STREAMS = 20
SECURE = re.compile(r"https://127\.0\.0\.1:\d+")
READ_ALL = """count => {
    window.got = {};
    for (let n = 0; n < count; n++) {
        const source = new EventSource(`/v1/streams/s${n}`);
        source.addEventListener("position", () => (window.got[n] = ""));
        source.addEventListener("text", event => (window.got[n] += JSON.parse(event.data).text));
    }
}"""
SPOKEN = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"
OVER_WEBSOCKET = """() => new Promise((done, fail) => {
    const socket = new WebSocket(`wss://${location.host}/v1/ws`, "patinox.v1");
    socket.onopen = () => socket.send(JSON.stringify({op: "subscribe", stream: "s0"}));
    socket.onmessage = event => done(JSON.parse(event.data).outcome);
    socket.onerror = () => fail("refused");
})"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server over TLS, with a certificate that it signed itself."""
    made = self_signed(tmp_path_factory.mktemp("tls"))
    command = [
        sys.executable,
        "-m",
        "patinox.cli.main",
        "serve",
        "--port",
        "0",
        "--http2-port",
        "0",
        "--store",
        "memory://",
    ]
    command += ["--no-local-model", "--tls-cert", str(made.certificate), "--tls-key", str(made.key)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert server.stdout is not None
    try:
        yield next(found.group() for line in server.stdout if (found := SECURE.search(line.decode())))
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=10)
    assert server.returncode == 0


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{url}/healthz")
    yield page
    context.close()


def post(url: str, body: bytes, media_type: str = "application/json") -> None:
    trusting = ssl._create_unverified_context()
    request = urllib.request.Request(url, body, {"content-type": media_type})
    with urllib.request.urlopen(request, context=trusting) as answer:
        assert answer.status < 300


def test_a_page_reads_more_streams_at_once_than_a_browser_has_connections(page: Page, url: str) -> None:
    for number in range(STREAMS):
        post(f"{url}/v1/streams", b'{"id": "s%d"}' % number)
    assert page.evaluate(SPOKEN) == "h2"
    page.evaluate(READ_ALL, STREAMS)
    page.wait_for_function("count => Object.keys(window.got).length === count", arg=STREAMS)
    for number in range(STREAMS):  # each while all are open
        post(f"{url}/v1/streams/s{number}/chunks", b"Hello %d" % number, "text/plain")
    page.wait_for_function(
        "count => Object.entries(window.got).filter(([n, t]) => t === `Hello ${n}`).length === count", arg=STREAMS
    )
    assert page.evaluate(OVER_WEBSOCKET) == "start"  # over HTTP/1.1 on the same port
