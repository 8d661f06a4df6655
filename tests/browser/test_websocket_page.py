"""The ten lines that the documentation shows for a browser, run in one, on a page of the server's own."""

import re
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "websocket.md"


def snippet() -> str:
    found = re.search(r"^```js\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def post(url: str, body: bytes, media_type: str = "application/json") -> None:
    request = urllib.request.Request(url, body, {"content-type": media_type})
    with urllib.request.urlopen(request) as answer:
        assert answer.status < 300


def test_a_page_of_the_servers_own_reads_a_stream(browser: Browser, playground_url: str) -> None:
    post(f"{playground_url}/v1/streams", b'{"id": "notes"}')
    page = browser.new_page()
    page.goto(playground_url)
    here = snippet().replace("//127.0.0.1:8787", playground_url.removeprefix("http:"))
    page.evaluate(f"() => {{ {here} }}")
    post(f"{playground_url}/v1/streams/notes/chunks?final=true", b'"Hello "\n"world"\n', "application/x-ndjson")
    expect(page.locator("body")).to_contain_text("Hello world")
    page.close()


def test_a_page_of_anywhere_else_gets_none(browser: Browser, playground_url: str) -> None:
    page = browser.new_page()
    page.goto("data:text/html,<p>elsewhere</p>")
    refused = page.evaluate(
        "url => new Promise(done => { const s = new WebSocket(url, 'patinox.v1');"
        " s.onopen = () => done('open'); s.onerror = () => done('refused'); })",
        playground_url.replace("http:", "ws:") + "/v1/ws",
    )
    assert refused == "refused"
    page.close()
