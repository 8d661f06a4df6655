"""`Config`: all the settings of a server, one table each, and where they are loaded from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from patinox.config.auth import AuthConfig
from patinox.config.environment import from_environment
from patinox.config.loading import Layer, from_file, from_overrides, from_toml, resolve
from patinox.config.pipelines import PipelineConfig
from patinox.config.quotas import QuotaConfig
from patinox.config.schema import NAME, Problem, Settings
from patinox.config.serving import LOCAL, GatewayConfig, ServerConfig
from patinox.config.streaming import StreamingConfig

_UPSTREAM = "gateway.upstreams."


class Config(Settings, frozen=True, kw_only=True):
    """Everything a server can be told. The library alone needs only `streaming`."""

    streaming: StreamingConfig = msgspec.field(default_factory=StreamingConfig)
    server: ServerConfig = msgspec.field(default_factory=ServerConfig)
    gateway: GatewayConfig = msgspec.field(default_factory=GatewayConfig)
    auth: AuthConfig = msgspec.field(default_factory=AuthConfig)
    quotas: QuotaConfig = msgspec.field(default_factory=QuotaConfig)
    pipelines: tuple[PipelineConfig, ...] = ()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Config:
        """The defaults, and over them the file, over that the environment, over that the overrides.

        `env` is the process's own unless given: `PATINOX_STREAMING__SSE__RETRY_INTERVAL=5s` sets
        `streaming.sse.retry_interval`; one without a double underscore is no setting, and one that
        lacks nothing else to be one is refused. `overrides` maps dotted keys to values as TOML or the
        environment would hold them; None stands for "not given".
        Raises ConfigError with every problem of every layer.
        """
        layers = [from_file(Path(path))] if path is not None else []
        layers += [from_environment(os.environ if env is None else env, cls), from_overrides(overrides or {})]
        return resolve(cls, layers)

    @classmethod
    def from_toml(cls, text: str) -> Config:
        """The defaults, and over them a TOML text. Raises ConfigError with every problem."""
        layers: list[Layer] = [from_toml(text, "")]
        return resolve(cls, layers)

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """Upstreams that the gateway cannot tell apart or does not have, and pipelines that there are not."""
        yield from _unknown_pipelines(at)
        names = {path.removeprefix(_UPSTREAM).partition(".")[0] for path in at if path.startswith(_UPSTREAM)}
        if at["server.local_model"]:
            if LOCAL in names:
                yield Problem(
                    (f"{_UPSTREAM}{LOCAL}.url", "server.local_model"),
                    f'the upstream name "{LOCAL}" belongs to the embedded model: '
                    "choose another, or set server.local_model = false.",
                )
            names |= {LOCAL}
        default = at["gateway.default_upstream"]
        if default and default not in names:
            known = ", ".join(sorted(names)) or "none"
            yield Problem(
                ("gateway.default_upstream",),
                f'gateway.default_upstream = "{default}" is not an upstream; there are: {known}.',
            )

    @property
    def default_upstream(self) -> str | None:
        """The upstream of models without one: the one set, else the first configured, else the local one."""
        if self.gateway.default_upstream:
            return self.gateway.default_upstream
        if self.gateway.upstreams:
            return self.gateway.upstreams[0].name
        return LOCAL if self.server.local_model else None


def _unknown_pipelines(at: Mapping[str, Any]) -> Iterator[Problem]:
    known = sorted({path.split(".")[1] for path in at if path.startswith("pipelines.")} - {NAME})
    for path, name in at.items():
        is_choice = path == "server.pipeline" or (path.startswith(_UPSTREAM) and path.endswith(".pipeline"))
        if is_choice and name and name not in known:
            there = ", ".join(known) or "none"
            yield Problem((path,), f'{path} = "{name}" is not a pipeline; there are: {there}.')
