"""The commands that read no stream."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from patinox import __version__
from patinox.cli.main import main
from patinox.config import Config
from patinox.formats.registry import builtin
from patinox.server.auth.keys import Keys


def run(*words: str, env: dict[str, str] | None = None, typed: str = "") -> Result:
    return CliRunner(env=env or {}).invoke(main, list(words), input=typed, prog_name="patinox")


class FakeServer:
    """Stands in for `patinox.server.run`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answers: int = 0) -> None:
        self.configs: list[Config] = []
        self._answers = answers
        monkeypatch.setitem(sys.modules, "patinox.server.run", SimpleNamespace(serve=self._serve))

    def _serve(self, config: Config, *, load: Callable[[], Config]) -> int:
        self.configs.append(config)
        return self._answers


def test_version_is_the_packages() -> None:
    assert run("--version").output == f"patinox {__version__}\n"


def test_help_names_every_command() -> None:
    text = run("--help").output
    assert all(f"\n  {name} " in text for name in ("serve", "chat", "tail", "doctor", "config", "formats"))


@pytest.mark.parametrize(
    "words", [("serve",), ("chat",), ("tail",), ("config", "check"), ("config", "show"), ("formats",)]
)
def test_help_of_every_command_has_an_example(words: tuple[str, ...]) -> None:
    assert f"  patinox {' '.join(words)}" in run(*words, "--help").output.partition("Example")[2]


def test_no_command_but_help_imports_the_server_or_the_http_client() -> None:
    script = (
        "import sys, patinox.cli.main; print([m for m in ('aiohttp', 'uvicorn', 'rich.console') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_formats_lists_each_format_on_a_line_of_its_own() -> None:
    listed, _, _ = run("formats").stdout.partition("\n\n")
    header, *rows = listed.splitlines()
    assert header.split() == ["NAME", "TITLE", "CONTENT", "TYPE", "FRAMING"]
    assert [row.split()[0] for row in rows] == list(builtin())
    assert all(format_.content_type in row for format_, row in zip(builtin().values(), rows, strict=True))


def test_config_check_of_a_good_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text('[streaming.sse]\nretry_interval = "5s"\n')
    result = run("config", "check", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{file}: ok\n", "")


def test_config_check_says_every_problem_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[streaming]\nbufer_size = 1\n[server]\nport = "x"\n')
    result = run("config", "check", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 2: streaming.bufer_size" in result.stderr
    assert "line 4: server.port" in result.stderr


def test_config_check_judges_the_file_and_not_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text("")
    assert run("config", "check", str(file), env={"PATINOX_SERVER__PORT": "x"}).exit_code == 0


def test_config_check_of_a_missing_file_is_a_sentence() -> None:
    result = run("config", "check", "/nowhere/at.toml")
    assert result.exit_code == 2
    assert "cannot be read: No such file" in result.stderr


def test_config_show_prints_what_loads_to_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text("[server]\nport = 9000\n")
    shown = run("config", "show", "--config", str(file), env={"PATINOX_SERVER__HOST": "0.0.0.0"})
    assert Config.from_toml(shown.stdout) == Config.load(file, {"PATINOX_SERVER__HOST": "0.0.0.0"})


def test_config_show_refuses_a_bad_environment_with_2() -> None:
    result = run("config", "show", env={"PATINOX_SERVER__PORT": "x"})
    assert result.exit_code == 2
    assert "PATINOX_SERVER__PORT" in result.stderr


def test_serve_hands_its_options_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer(monkeypatch)
    words = "serve --host 0.0.0.0 --port 0 --upstream a=http://127.0.0.1:1/v1 --store memory:// --workers 1"
    result = run(*words.split(), "--no-local-model")
    assert result.exit_code == 0, result.output
    [config] = fake.configs
    assert (config.server.host, config.server.port, config.server.local_model) == ("0.0.0.0", 0, False)
    assert [upstream.name for upstream in config.gateway.upstreams] == ["a"]


def test_serve_takes_options_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = FakeServer(monkeypatch)
    file = tmp_path / "some.toml"
    file.write_text('[server]\nport = 1001\nhost = "127.0.0.2"\n[streaming]\nbuffer_size = 7\n')
    env = {"PATINOX_SERVER__HOST": "127.0.0.3", "PATINOX_SERVER__PORT": "1002"}
    run("serve", "--config", str(file), "--port", "1003", env=env)
    [config] = fake.configs
    assert (config.server.port, config.server.host, config.streaming.buffer_size) == (1003, "127.0.0.3", 7)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_serve_exits_as_the_server_did(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    FakeServer(monkeypatch, answers=code)
    assert run("serve").exit_code == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "65536"), "--port"),
        (("--upstream", "no-url"), "NAME=[DIALECT+]URL"),
        (("--upstream", "a=latin+http://x/v1"), "dialect"),
        (("--config", "/nowhere/at.toml"), "cannot be read"),
        (("--workers", "2"), "server.workers"),
    ],
)
def test_serve_refuses_wrong_settings_with_2(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    fake = FakeServer(monkeypatch)
    result = run("serve", *words)
    assert (result.exit_code, fake.configs) == (2, [])
    assert said in result.stderr


def test_serve_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "patinox.server.run", None)
    result = run("serve")
    assert result.exit_code == 3
    assert 'pip install "patinox[server]"' in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("tail", "a/b"),
        ("tail", "-x"),
        ("tail", "abc", "--after", "yesterday"),
        ("tail", "abc", "--server", "ftp://x"),
        ("chat", " "),
        ("chat", "-"),
        ("chat",),
        ("chat", "hello", "--server", "127.0.0.1:8787"),
        ("convert",),
    ],
)
def test_wrong_input_exits_with_2_and_a_sentence(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("words", [("tail", "abc"), ("chat", "hello")])
def test_no_server_exits_with_1_and_says_where_it_looked(words: tuple[str, ...], unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    result = run(*words, env={"PATINOX_SERVER": url})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {url}: cannot connect (connection refused); is a server running there?\n"


@pytest.fixture
def unused_port() -> Any:
    import socket

    with socket.socket() as held:  # bound and not listening: nobody else gets it, and it refuses
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_without_click_the_command_says_what_to_install() -> None:
    script = "import sys; sys.modules['click'] = None; import patinox.cli.main"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 3
    assert done.stderr == 'The patinox command needs its server extra: pip install "patinox[server]"\n'


def test_a_key_is_shown_once_and_its_settings_hold_the_hash_alone() -> None:
    result = CliRunner().invoke(main, ["key", "mobile-app"])
    key = result.stderr.rpartition(": ")[2].strip()
    (configured,) = Config.from_toml(result.stdout).auth.keys
    assert key.startswith("patinox_")
    assert key not in result.stdout
    assert (configured.name, Keys([configured]).caller(key).subject) == ("mobile-app", "key:mobile-app")


def test_a_key_needs_a_name_that_may_stand_in_the_settings() -> None:
    result = CliRunner().invoke(main, ["key", "Mobile App"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "lower-case letters" in result.stderr
