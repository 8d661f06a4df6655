"""The examples run as they stand, and do what their comments say."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest
import uvicorn

from patinox.server.listening import address, bind
from patinox.testing.upstream import DONE, Answer, Gate, ScriptedUpstream, role, said, stopped

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_the_library_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / "library_alone.py"), stdout=PIPE
    )
    out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 0
    told = ["'The sea '", "'remembers '", "'every '", "'ship.'", "the end, complete"]
    for reader in ("watcher", "phone"):
        assert [line.removeprefix(f"{reader}: ") for line in lines if line.startswith(reader)] == told
    assert lines[-1] == "whole: The sea remembers every ship."


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(app: object) -> AsyncIterator[str]:
    """The application on uvicorn, as its user would run it."""
    config = uvicorn.Config(app, lifespan="on", log_config=None, loop="none")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    with bind("127.0.0.1", 0) as listener:
        await server.startup(sockets=[listener])
        try:
            yield address(listener)
        finally:
            await server.shutdown(sockets=[listener])


@pytest.fixture
async def fastapi_app(upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    async with served(load("fastapi_app").app) as url:
        yield url


async def test_the_fastapi_application_resumes_without_asking_the_model_again(
    upstream: ScriptedUpstream, fastapi_app: str, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), DONE))
    ask = f"{fastapi_app}/ask?question=Hi"
    async with http.get(ask) as answer:
        before = await answer.content.readuntil(b"Hel")
        before += await answer.content.readuntil(b"\n\n")
    last = re.findall(rb"^id: (.+)$", before, re.MULTILINE)[-1].decode()
    async with http.get(ask, headers={"Last-Event-ID": last}) as answer:
        assert answer.headers["Patinox-Outcome"] == "resumed"
        gate.open()
        rest = await answer.read()
    assert b"Hel" not in rest
    assert b'"lo"' in rest
    assert b"event: end" in rest
    assert len(upstream.asked) == 1
    assert upstream.asked[0].body["messages"] == [{"role": "user", "content": "Hi"}]


async def test_the_fastapi_application_shows_its_streams_under_live(
    upstream: ScriptedUpstream, fastapi_app: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{fastapi_app}/ask?question=Hi") as answer:
        await answer.read()
        stream_id = answer.headers["Patinox-Stream-Id"]
    async with http.get(f"{fastapi_app}/live/v1/streams/{stream_id}", headers={"Accept": "application/json"}) as answer:
        told = await answer.json()
    assert (told["content"], told["state"], told["metadata"]) == ("Hello", "complete", {"question": "Hi"})
