"""`[server]` and `[gateway]`: where the server listens, and which models' servers it asks.

An upstream's key is a secret and stands in no file and in no command line, where every user of the machine
could read it: it comes from the environment, in the variable that `key_variable` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, cast

import msgspec

from patinox.config.choices import Dialect, LogFormat, LogLevel
from patinox.config.kinds import BaseUrl, Choice, Flag, Kind, Names, Text, mask_credentials
from patinox.config.pipelines import OPTIONAL_PIPELINE_PATTERN
from patinox.config.quantities import Count, Duration, Port, Size
from patinox.config.schema import NAME, Problem, Settings, refuse
from patinox.config.units import DAY_S, HOUR_S

LOCAL = "local"  # the upstream name of the embedded model

_NAME_PATTERN = "[a-z0-9]+(-[a-z0-9]+)*"
_NAME_FORM = "lower-case letters and digits, with single hyphens between them"
_DIALECT_AND_URL = re.compile(r"(?P<dialect>[^+:/]*)\+(?P<url>.*)")
_CERTIFICATE = (
    "The certificate for TLS, with its chain, as PEM; with it `http2_port` speaks TLS (HTTP/2, and HTTP/1.1 to clients "
    "that have no HTTP/2), and `grpc_port` too; without it both are in the clear."
)
_PATH = ("the path of a file, or empty", r"[^\x00]*")
UPSTREAM_NAME = Text("An upstream's name: models are asked for as NAME/model.", _NAME_FORM, _NAME_PATTERN)


class MetricsConfig(Settings, frozen=True, kw_only=True):
    """`GET /metrics`, for Prometheus. No label names a stream, a tenant or a user."""

    table: ClassVar[str] = "server.metrics"

    enabled: Annotated[bool, Flag("Whether there is a `/metrics`.")] = True


class TelemetryConfig(Settings, frozen=True, kw_only=True):
    """Traces and metrics of the gateway's calls, for OpenTelemetry. No prompt and no answer is in them."""

    table: ClassVar[str] = "server.telemetry"

    endpoint: Annotated[
        str,
        Text(
            "The collector, to which OTLP goes over HTTP, at `/v1/traces` and `/v1/metrics` below this; empty: none.",
            "a URL such as http://127.0.0.1:4318, or empty",
            r"(https?://[^\s/?#@]+(/[^\s?#@]*)?)?",
        ),
    ] = ""


class ServerConfig(Settings, frozen=True, kw_only=True):
    """Where `patinox serve` listens and what it keeps streams in."""

    table: ClassVar[str] = "server"

    host: Annotated[
        str,
        Text(
            "The address to listen on; 0.0.0.0 is every IPv4 one.",
            "a host name or an IP address",
            r"[A-Za-z0-9._:%-]+",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Count("The TCP port to listen on.", least=1, most=65_535, zero="any free one")] = 8787
    http2_port: Annotated[int | None, Port("The TCP port for HTTP/2, of which `streaming.http2` says more.")] = None
    grpc_port: Annotated[int | None, Port("The TCP port for gRPC, of which `streaming.grpc` says more.")] = None
    tls_cert: Annotated[str, Text(_CERTIFICATE, *_PATH)] = ""
    tls_key: Annotated[str, Text("The private key of `tls_cert`, as PEM, without a password.", *_PATH)] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        Names("The names that the server answers to beside localhost and addresses, without a port."),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        Names("The origins, such as https://app.example.com, whose pages may ask beside the server's own."),
    ] = ()
    header_timeout_s: Annotated[
        float,
        Duration("How long the head of a request may take to come; then 408.", most=HOUR_S, zero="as long as it takes"),
    ] = 10.0
    max_header_bytes: Annotated[
        int, Size("How large the head of a request may be; beyond it 431.", least=1024, most=1 << 24)
    ] = 32 * 1024
    insecure: Annotated[bool, Flag("Whether to listen beyond this machine though nobody is asked who they are.")] = (
        False
    )
    workers: Annotated[
        int, Count("Server processes. More than one need a store that they share.", least=1, most=256)
    ] = 1
    local_model: Annotated[bool, Flag("Whether to run the embedded model, as the upstream `local`.")] = True
    store: Annotated[
        str,
        Text(
            "Where streams are kept: `memory://`, a `sqlite://` file (without a path, one in the user's data "
            "directory), `redis://` or `nats://`.",
            "a URL such as sqlite:///var/lib/patinox/streams.db",
            r"[a-z][a-z0-9+.-]*://\S*",
        ),
    ] = "sqlite://"
    pipeline: Annotated[
        str,
        Text(
            "The pipeline of every stream that has none of its own: pushed ones, and the gateway's. Where this is "
            "empty, a client may choose one.",
            "the name of a pipeline, or empty",
            OPTIONAL_PIPELINE_PATTERN,
        ),
    ] = ""

    log_format: Annotated[
        LogFormat,
        Choice("How a log line is written; `json` is one object a line, with stream and trace ids.", LogFormat),
    ] = LogFormat.TEXT
    log_level: Annotated[
        LogLevel, Choice("How much is logged; `info` has a line for each stream that begins or ends.", LogLevel)
    ] = LogLevel.WARNING
    drain_delay_s: Annotated[
        float,
        Duration(
            "How long a server that SIGTERM has told to end stays open, not ready, for a load balancer to notice.",
            most=DAY_S,
            zero="no longer than it takes",
        ),
    ] = 0.0
    metrics: MetricsConfig = msgspec.field(default_factory=MetricsConfig)
    telemetry: TelemetryConfig = msgspec.field(default_factory=TelemetryConfig)

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """The memory of one process is no store for several; a certificate is nothing without its key."""
        given = [key for key in ("server.tls_cert", "server.tls_key") if at[key]]
        if len(given) == 1:
            yield Problem(
                tuple(given), f"{given[0]} is given alone: TLS takes both, server.tls_cert and server.tls_key."
            )
        if at["server.workers"] > 1 and at["server.store"].startswith(("memory:", "sqlite:")):
            yield Problem(
                ("server.workers", "server.store"),
                f'server.workers = {at["server.workers"]} with server.store = "{at["server.store"]}": each '
                "process would have streams of its own, unknown to the others. "
                "Set workers = 1, or a store that they share.",
            )


class UpstreamConfig(Settings, frozen=True, kw_only=True):
    """A server of models that the gateway may ask. Its key comes from `PATINOX_<NAME>_KEY`."""

    table: ClassVar[str] = f"gateway.upstreams.{NAME}"
    name_kind: ClassVar[Kind | None] = UPSTREAM_NAME
    misplaced: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "api_key", "apikey", "token", "secret", "password"),
        "keys stand in no file: put it into the environment as PATINOX_<NAME>_KEY",
    )

    name: str
    url: Annotated[str, BaseUrl("Where the upstream's API begins, such as https://api.example.com/v1.")]
    dialect: Annotated[Dialect, Choice("The protocol the upstream speaks.", Dialect)] = Dialect.OPENAI_CHAT
    models: Annotated[
        tuple[str, ...], Names("The models to offer; where empty, those that the upstream lists itself.")
    ] = ()
    pipeline: Annotated[
        str,
        Text(
            "The pipeline that this upstream's answers go through; empty: `server.pipeline`.",
            "the name of a pipeline, or empty",
            OPTIONAL_PIPELINE_PATTERN,
        ),
    ] = ""

    @property
    def key_variable(self) -> str:
        """The environment variable that holds this upstream's key."""
        return key_variable(self.name)


class GatewayConfig(Settings, frozen=True, kw_only=True):
    """How patient the gateway is with upstreams, and which there are."""

    table: ClassVar[str] = "gateway"

    connect_timeout_s: Annotated[float, Duration("How long connecting to an upstream may take.", most=DAY_S)] = 10.0
    first_token_timeout_s: Annotated[
        float, Duration("How long an upstream may take from the request to the first token.", most=DAY_S)
    ] = 120.0
    idle_timeout_s: Annotated[float, Duration("How long an upstream may be silent between two tokens.", most=DAY_S)] = (
        60.0
    )
    default_upstream: Annotated[
        str,
        Text(
            "The upstream of models without NAME/; empty: the first configured, else the embedded model.",
            "the name of an upstream, or empty",
            f"({_NAME_PATTERN})?",
        ),
    ] = ""
    upstreams: tuple[UpstreamConfig, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [upstream.name for upstream in self.upstreams]
        twice = sorted({name for name in names if names.count(name) > 1})
        refuse(Problem((f"gateway.upstreams.{name}",), f'there are two upstreams named "{name}"') for name in twice)

    def upstream(self, name: str) -> UpstreamConfig | None:
        """The upstream of this name, if there is one."""
        return next((upstream for upstream in self.upstreams if upstream.name == name), None)


def key_variable(name: str) -> str:
    """`PATINOX_MY_NAME_KEY` for `my-name`: names have no underscores, so no two share a variable."""
    return f"PATINOX_{name.upper().replace('-', '_')}_KEY"


def parse_upstream(text: str) -> UpstreamConfig:
    """Reads the command line's `NAME=[DIALECT+]URL`; DIALECT: else `openai-chat`. Raises ConfigError."""
    name, equals, rest = text.partition("=")
    if not equals:
        shown = mask_credentials(repr(text))
        refuse([Problem((), f"the upstream {shown} is to be written NAME=[DIALECT+]URL")])
    match = _DIALECT_AND_URL.fullmatch(rest)
    if match is None:  # a plus further on is the URL's own
        return UpstreamConfig(name=name, url=rest)
    # The constructor makes a Dialect of the word, or says which there are.
    return UpstreamConfig(name=name, url=match["url"], dialect=cast(Dialect, match["dialect"]))


def upstream_overrides(texts: Iterable[str]) -> dict[str, object]:
    """The `--upstream` options as overrides for `Config.load`; their dialect, too, is over the file's."""
    upstreams = [parse_upstream(text) for text in texts]
    GatewayConfig(upstreams=tuple(upstreams))  # refuses a name given twice
    return {
        f"gateway.upstreams.{upstream.name}": {"url": upstream.url, "dialect": upstream.dialect}
        for upstream in upstreams
    }
