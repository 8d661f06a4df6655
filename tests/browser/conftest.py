"""A headless Chromium and a running server for it to look at.

The browser is the system's own (`chromium`, one folder up); without it every test here is skipped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from tests.browser.scripted_upstream import ScriptedUpstream

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
ADDRESS = re.compile(r"http://127\.0\.0\.1:([1-9]\d*)")
EXIT_WITHIN_S = 10


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def playground_url(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """THE REAL SERVER: `patinox serve` on a free port, with the scripted upstream as its only model.

    Relies on two things of the command: `--port 0` takes a free port, and the address is printed at start.
    """
    folder = tmp_path_factory.mktemp("serve")
    log, config = folder / "serve.log", folder / "patinox.toml"
    config.write_text('[pipelines.sentences]\nchunk = "sentence"\ndescription = "One chunk a sentence"\n')
    command = [
        sys.executable,
        "-m",
        "patinox.cli.main",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--store",
        "memory://",
    ]
    command += ["--config", str(config), "--no-local-model", "--upstream", f"scripted=openai-chat+{upstream.url}"]
    with log.open("wb") as stderr:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    try:
        yield _printed_address(server, log)
    finally:
        server.send_signal(signal.SIGINT)
        _end(server)


def _printed_address(server: subprocess.Popen[bytes], log: Path) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        found = ADDRESS.search(line.decode())
        if found:
            return found.group(0)
    pytest.fail(f"the server ended without printing its address:\n{log.read_text()}")


def _end(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(EXIT_WITHIN_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
        raise
    finally:
        assert server.stdout is not None
        server.stdout.close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser a module, not a session: it keeps an event loop running, and async tests need theirs."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def script(upstream: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    """The upstream with nothing scripted yet; what a test leaves held is let go."""
    yield upstream
    upstream.reset()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab in a profile of its own. What the page logs as an error, CSP refusals too, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: _note(problems, message))
    yield tab
    context.close()
    assert problems == []


def _note(problems: list[str], message: ConsoleMessage) -> None:
    # Chromium logs every error status itself; the page is tested for showing those.
    if message.type == "error" and not message.text.startswith("Failed to load resource"):
        problems.append(message.text)
