"""Which upstreams there are, and which of them a model's name means.

`NAME/model` is a model of the upstream NAME; anything else goes to the default upstream as it is. Where the models of
an upstream are known (configured, or the embedded one), a name that is not among them is refused instead of guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from patinox.config import Config, UpstreamConfig
from patinox.errors import InputError, PatinoxError
from patinox.gateway.local_model import LocalModel
from patinox.gateway.speech import SPEECHES


class NoUpstream(PatinoxError):
    """There is no upstream that could answer."""

    code = "no_upstream"
    http_status = 503


class UnknownModel(InputError):
    """A model or an upstream that is not there. `known` lists those there are, `…` where an upstream lists its own."""

    code = "model_not_found"
    http_status = 404

    def __init__(self, name: str | None, known: Sequence[str]) -> None:
        super().__init__(f"there is no model {name!r}; there are {', '.join(known)}")
        self.known = tuple(known)

    def as_dict(self) -> dict[str, Any]:
        """Adds `known`."""
        return {**super().as_dict(), "known": list(self.known)}


class Upstream(Protocol):
    """A server of models: where it is, what it speaks, and what a request to it carries."""

    name: str
    dialect: str
    models: tuple[str, ...]
    pipeline: str | None
    """The name of the pipeline that its answers go through; None leaves the choice."""

    def check(self) -> None:
        """Raises `UpstreamError` when asking is pointless now (the embedded model is still loading)."""
        ...

    def base_url(self) -> str:
        """Where its API begins, such as `https://api.example.com/v1`."""
        ...

    def headers(self) -> dict[str, str]:
        """What every request carries: the key."""
        ...


class ConfiguredUpstream:
    """An upstream from the configuration; its key from `PATINOX_<NAME>_KEY`."""

    def __init__(self, config: UpstreamConfig, key: str | None) -> None:
        self.name = config.name
        self.dialect: str = config.dialect.value
        self.models = config.models
        self.pipeline = config.pipeline or None
        self._url = config.url.rstrip("/")
        self._key = key

    def __repr__(self) -> str:
        return f"<Upstream {self}>"

    def __str__(self) -> str:
        return f"{self.name}: {self.dialect} at {self._url}"

    def check(self) -> None:
        """It is always worth asking."""

    def base_url(self) -> str:
        """As configured."""
        return self._url

    def headers(self) -> dict[str, str]:
        """The key, where there is one, as the dialect carries it, and what else the dialect asks for."""
        speech = SPEECHES[self.dialect]
        return {**speech.headers, **(speech.auth(self._key) if self._key else {})}


class LocalUpstream:
    """The embedded model."""

    name = LocalModel.name
    dialect: str = "openai-chat"

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.pipeline: str | None = None
        self.models: tuple[str, ...] = (model.model_id,)

    def __repr__(self) -> str:
        return f"<Upstream local {self.model!r}>"

    def __str__(self) -> str:
        return f"{self.name}: the embedded model {self.model.model_id}"

    def check(self) -> None:
        """Raises `UpstreamStarting` while the model loads, `UpstreamUnavailable` when it has failed."""
        self.model.check()

    def base_url(self) -> str:
        """On loopback; moves when the child is restarted elsewhere."""
        return self.model.base_url

    def headers(self) -> dict[str, str]:
        """The key of this run. llama.cpp says keep-alive, but closes after a streamed answer: so do we."""
        return {**self.model.headers, "Connection": "close"}


class Upstreams:
    """All upstreams by name, and the default one."""

    def __init__(self, upstreams: Iterable[Upstream], default: str | None) -> None:
        self._by_name = {upstream.name: upstream for upstream in upstreams}
        self._default = self._by_name.get(default) if default is not None else None

    def __repr__(self) -> str:
        return f"<Upstreams {', '.join(self._by_name) or 'none'}>"

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def default(self) -> Upstream | None:
        """Where models without `NAME/` go."""
        return self._default

    def resolve(self, model: str | None) -> tuple[Upstream, str]:
        """The upstream that a model's name means, and the name it knows the model by: empty, to leave it the choice.

        Raises `UnknownModel` (404, with what there is) or `NoUpstream`.
        """
        name, slash, rest = (model or "").partition("/")
        named = self._by_name.get(name) if slash or name in self._by_name else None
        upstream, wanted = (named, rest) if named is not None else (self._default, model or "")
        if upstream is None:
            raise NoUpstream(self._advice())
        if not wanted or wanted == "default":
            wanted = upstream.models[0] if upstream.models else ""
        if upstream.models and wanted not in upstream.models:
            raise UnknownModel(model, self._offered())
        return upstream, wanted

    def _offered(self) -> list[str]:
        return [f"{upstream.name}/{model}" for upstream in self for model in (upstream.models or ("…",))]

    def _advice(self) -> str:
        if self._by_name:
            return f"no default upstream; ask for NAME/model, with NAME one of {', '.join(self._by_name)}"
        return (
            "no upstream is configured: start with --upstream NAME=URL, or install the embedded model "
            f"({LocalModel.available() or 'and drop --no-local-model'})"
        )


def configured(config: Config, env: Mapping[str, str], local: LocalModel | None) -> Upstreams:
    """The upstreams of a configuration, with their keys from the environment."""
    upstreams: list[Upstream] = [
        ConfiguredUpstream(upstream, env.get(upstream.key_variable)) for upstream in config.gateway.upstreams
    ]
    if local is not None:
        upstreams.append(LocalUpstream(local))
    return Upstreams(upstreams, config.default_upstream)
