"""The playground on a server that asks who comes: signing in, and links that carry a ticket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.scripted_upstream import ScriptedUpstream
from tests.serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.server]

KEY = "patinox_visitor"
SETTINGS: dict[str, Any] = {
    "auth.keys.visitor.sha256": sha256(KEY.encode()).hexdigest(),
    "auth.keys.visitor.rights": ["read", "models", "cancel"],
}


@pytest.fixture(scope="module")
def guarded_url(upstream: ScriptedUpstream) -> Iterator[str]:
    """A server that asks, in a thread of its own: the browser's driver has this one's event loop."""
    started: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with serving({"scripted": upstream.url}, **SETTINGS) as running:
            started.append(running.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(over.set)
        assert ready.wait(30)
        yield started[0]


def sign_in(page: Page, url: str, key: str = KEY) -> None:
    page.goto(url)
    page.fill("#credential", key)
    page.click("#signin button")


def test_who_is_not_known_is_asked_and_cannot_ask(page: Page, guarded_url: str) -> None:
    page.goto(guarded_url)
    expect(page.locator("#signin")).to_be_visible()
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator("#credential")).to_be_focused()


def test_a_wrong_key_is_said_to_be_one(page: Page, guarded_url: str) -> None:
    sign_in(page, guarded_url, "patinox_wrong")
    expect(page.locator("#signin-why")).to_contain_text("does not know this key")


def test_signed_in_an_answer_comes_and_survives_a_reload(
    page: Page, guarded_url: str, script: ScriptedUpstream
) -> None:
    script.words = ["Hello ", "there"]
    sign_in(page, guarded_url)
    expect(page.locator("#transport")).to_have_text("fetch")
    page.fill("#prompt", "Greet me.")
    page.click("#send")
    expect(page.locator("#state")).to_have_text("complete")
    page.reload()
    expect(page.locator("#answer")).to_have_text("Hello there")


def test_a_shared_link_reads_the_stream_once_it_is_opened_and_after_a_reload(
    page: Page, browser: Browser, guarded_url: str, script: ScriptedUpstream
) -> None:
    script.words = ["Hello ", "there"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, guarded_url)
    page.fill("#prompt", "Greet me.")
    page.click("#send")
    expect(page.locator("#state")).to_have_text("complete")
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied, good for 30 s")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "ticket=" in link
    assert KEY not in link
    context = browser.new_context()
    friend = context.new_page()
    friend.goto(link)
    expect(friend.locator("#answer")).to_have_text("Hello there")
    assert "ticket" not in friend.url
    friend.reload()
    expect(friend.locator("#answer")).to_have_text("Hello there")
    context.close()
