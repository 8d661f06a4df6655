"""The playground as a person uses it: in a browser, on a real server, with a model that waits where told."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.scripted_upstream import ScriptedUpstream

pytestmark = [pytest.mark.browser, pytest.mark.server]

WORDS = [f"word{number} " for number in range(60)]
HELD = 20
TRANSPORTS = ("eventsource", "fetch")


def hold(script: ScriptedUpstream) -> str:
    """Scripts an answer that waits a third of the way in; gives the text up to there."""
    script.words, script.hold_at = WORDS, HELD
    return "".join(WORDS[:HELD])


def ask(page: Page, url: str, prompt: str = "Count some words.") -> None:
    page.goto(url)
    ask_here(page, prompt)


def ask_here(page: Page, prompt: str = "Count some words.") -> None:
    page.fill("#prompt", prompt)
    page.click("#send")


def text(page: Page) -> str:
    return page.locator("#answer").text_content() or ""


def expect_whole(page: Page, script: ScriptedUpstream) -> None:
    expect(page.locator("#state")).to_have_text("complete")
    expect(page.locator("#outcome")).to_have_attribute("data-same", "true")
    assert text(page) == script.text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_comes_to_its_end(page: Page, playground_url: str, script: ScriptedUpstream, transport: str) -> None:
    script.words = WORDS
    ask(page, f"{playground_url}/?transport={transport}")
    expect_whole(page, script)
    expect(page.locator("#position")).to_have_text(re.compile(r"^\w+-\d+$"))
    expect(page.locator("#ttft")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(page.locator("#outcome")).to_contain_text(f"{len(WORDS)} tokens out")


def test_control_enter_sends_the_prompt_once(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    script.words = WORDS
    page.goto(playground_url)
    page.fill("#prompt", "Count.")
    page.press("#prompt", "Control+Enter")
    expect_whole(page, script)
    assert [request["messages"][-1]["content"] for request in script.requests] == ["Count."]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reload_in_the_middle_loses_nothing(
    page: Page, playground_url: str, script: ScriptedUpstream, transport: str
) -> None:
    so_far = hold(script)
    ask(page, f"{playground_url}/?transport={transport}")
    expect(page.locator("#answer")).to_have_text(so_far)
    page.reload()
    expect(page.locator("#answer")).to_have_text(so_far)
    expect(page.locator("#prompt")).to_have_value("Count some words.")
    script.release()
    expect_whole(page, script)
    assert len(script.requests) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_dropped_connection_resumes_after_the_last_event(
    page: Page, playground_url: str, script: ScriptedUpstream, transport: str
) -> None:
    so_far = hold(script)
    ask(page, f"{playground_url}/?transport={transport}")
    expect(page.locator("#answer")).to_have_text(so_far)
    page.click("#drop")
    expect(page.locator("#connection")).to_have_text("cut")
    script.release()
    expect(page.locator("#resumes")).to_have_text("1")
    expect(page.locator("#drops")).to_have_text("1")
    expect(page.locator("#attach")).to_have_text("resumed")
    expect_whole(page, script)


def test_a_device_that_was_offline_catches_up(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    so_far = hold(script)
    ask(page, playground_url)
    expect(page.locator("#answer")).to_have_text(so_far)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_have_text("offline")
    script.release()
    page.context.set_offline(False)
    expect_whole(page, script)


def test_a_second_tab_sees_the_same_answer_live(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    so_far = hold(script)
    ask(page, playground_url)
    expect(page.locator("#answer")).to_have_text(so_far)
    with page.expect_popup() as popup:
        page.click("#share")
    second = popup.value
    expect(second.locator("#answer")).to_have_text(so_far)
    expect(second.locator("#state")).to_have_text("open")
    script.release()
    expect_whole(second, script)
    expect_whole(page, script)
    assert len(script.requests) == 1


def test_leaving_does_not_stop_the_model(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    so_far = hold(script)
    ask(page, playground_url)
    expect(page.locator("#answer")).to_have_text(so_far)
    address = page.url
    page.goto("about:blank")
    script.release()
    page.goto(address)
    expect_whole(page, script)
    assert not script.hung_up.is_set()


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_stops_the_model_for_everybody(
    page: Page, playground_url: str, script: ScriptedUpstream, how: str
) -> None:
    so_far = hold(script)
    ask(page, playground_url)
    expect(page.locator("#answer")).to_have_text(so_far)
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator("#answer")).to_have_text(so_far)
    if how == "button":
        second.click("#stop")
    else:
        second.keyboard.press("Escape")
    for tab in (page, second):
        expect(tab.locator("#state")).to_have_text("cancelled")
        assert text(tab) == so_far
        expect(tab.locator("#stop")).to_be_disabled()
    assert script.hung_up.wait(timeout=10)


def test_a_model_that_breaks_off_is_shown_as_interrupted(
    page: Page, playground_url: str, script: ScriptedUpstream
) -> None:
    script.words, script.breaks = WORDS, True
    ask(page, playground_url)
    expect(page.locator("#state")).to_have_text("interrupted")
    expect(page.locator("#outcome")).to_contain_text("Interrupted: the answer broke off.")
    assert text(page) == script.text


def test_a_pipeline_that_was_chosen_is_seen_to_hold_text_back(
    page: Page, playground_url: str, script: ScriptedUpstream
) -> None:
    script.words, script.hold_at = ["One. ", "Two ", "is not ", "over. ", "Three"], 3
    page.goto(playground_url)
    expect(page.locator("#pipeline option")).to_have_text(["no pipeline", "sentences"])
    page.select_option("#pipeline", "sentences")
    ask_here(page)
    expect(page.locator("#answer")).to_have_text("One. ")
    expect(page.locator("#held")).to_have_text("yes, by sentences")
    script.release()
    expect_whole(page, script)
    expect(page.locator("#held")).to_have_text("no")


def test_an_answer_without_a_pipeline_does_not_speak_of_one(
    page: Page, playground_url: str, script: ScriptedUpstream
) -> None:
    script.words = WORDS
    ask(page, playground_url)
    expect_whole(page, script)
    expect(page.locator("#guarded")).to_be_hidden()


def test_markup_in_an_answer_is_text(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    script.words = ["<img src=x onerror=alert(1)>", "<b>bold</b>", "\n\n", "&amp; ünïcode 🦊"]
    ask(page, playground_url)
    expect_whole(page, script)
    expect(page.locator("#answer :is(img, b)")).to_have_count(0)


def test_a_server_without_a_model_says_so_and_promises_nothing(page: Page, playground_url: str) -> None:
    error = {"code": "no_upstream", "message": "no upstream is configured"}
    page.route("**/v1/chat/completions*", lambda route: route.fulfill(status=503, json={"error": error}))
    ask(page, playground_url)
    expect(page.locator("#state")).to_have_text("unavailable")
    expect(page.locator("#notice-text")).to_have_text("No upstream is configured.")


def test_what_waited_for_a_viewer_is_no_speed_of_the_model(page: Page, playground_url: str) -> None:
    page.goto(playground_url)
    rate = page.evaluate(
        """async () => {
            const { Meter } = await import("/web/meter.js");
            const meter = new Meter();
            [0, 1, 2, 3, 103, 203, 303].forEach((at_ms, seq) => meter.delta(seq + 1, at_ms));
            return meter.tokensPerSecond;
        }"""
    )
    assert rate == pytest.approx(10)


def test_an_unknown_stream_is_said_to_be_unknown(page: Page, playground_url: str) -> None:
    page.goto(f"{playground_url}/?stream=nosuchstream")
    expect(page.locator("#state")).to_have_text("not found")
    expect(page.locator("#notice")).to_contain_text("doesn't know this stream")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#controls")).to_be_hidden()


def test_a_deleted_stream_is_said_to_be_deleted(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    script.words = WORDS
    ask(page, playground_url)
    expect_whole(page, script)
    stream = page.url.split("stream=")[1]
    assert page.request.delete(f"{playground_url}/v1/streams/{stream}").ok
    page.reload()
    expect(page.locator("#state")).to_have_text("deleted")


def test_a_prompt_waits_for_a_model_that_is_starting(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    script.words = WORDS
    refusals = iter([True, True])

    def starting(route: Route) -> None:
        if next(refusals, False):
            body = {"error": {"code": "upstream_starting", "message": "The model is still starting."}}
            route.fulfill(status=503, json=body)
        else:
            route.continue_()

    page.route("**/v1/chat/completions*", starting)
    ask(page, playground_url)
    expect(page.locator("#state")).to_have_text("starting")
    expect(page.locator("#notice")).to_contain_text("as soon as the server is ready")
    expect_whole(page, script)
    assert len(script.requests) == 1


def test_a_server_that_starts_says_so_and_then_is_ready(page: Page, playground_url: str) -> None:
    page.route("**/readyz", lambda route: route.fulfill(status=503, json={"ready": False}))
    page.goto(playground_url)
    expect(page.locator("#state")).to_have_text("starting")
    page.unroute("**/readyz")
    expect(page.locator("#state")).to_have_text("idle")
    expect(page.locator("#notice")).to_be_hidden()


def test_the_page_asks_nobody_but_its_server(page: Page, playground_url: str, script: ScriptedUpstream) -> None:
    script.words = WORDS
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    ask(page, playground_url)
    expect_whole(page, script)
    assert asked == {urlsplit(playground_url).netloc}


def test_the_parser_gives_the_same_events_for_every_cut(page: Page, playground_url: str) -> None:
    page.goto(playground_url)
    stream = (
        "\ufeff: hi\r\nid: a-1\r\nevent: text\rdata: one\ndata:two\r\r\n\ndata\n\n"
        "id: a-2\ndata:  \u2028x\u0085\n\ndata: lost"
    )
    events = page.evaluate(
        """async (stream) => {
            const { SseParser } = await import(new URL("web/sse.js", document.baseURI));
            const read = (pieces) => {
                const parser = new SseParser();
                return JSON.stringify(pieces.flatMap((piece) => parser.push(piece)));
            };
            const results = new Set([read([...stream])]);
            for (let a = 0; a <= stream.length; a += 1)
                for (let b = a; b <= stream.length; b += 1)
                    results.add(read([stream.slice(0, a), stream.slice(a, b), "", stream.slice(b)]));
            return [...results].map((result) => JSON.parse(result));
        }""",
        stream,
    )
    assert events == [
        [
            {"kind": "text", "data": "one\ntwo", "id": "a-1"},
            {"kind": "message", "data": "", "id": "a-1"},
            {"kind": "message", "data": " \u2028x\u0085", "id": "a-2"},
        ]
    ]


@pytest.mark.parametrize("width_px", [320, 390, 768, 1280])
def test_nothing_sticks_out_sideways(page: Page, playground_url: str, script: ScriptedUpstream, width_px: int) -> None:
    script.words = ["unbroken" * 40, " and done."]
    page.set_viewport_size({"width": width_px, "height": 800})
    ask(page, playground_url)
    expect_whole(page, script)
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_every_control_has_a_name(page: Page, playground_url: str) -> None:
    page.goto(playground_url)
    expect(page.get_by_label("Prompt")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, textarea, select, a')]"
        ".filter(e => !e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map(e => e.id)"
    )
    assert unnamed == []
