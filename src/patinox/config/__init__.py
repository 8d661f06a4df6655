"""The settings: frozen, validated once, from a TOML file, the environment and overrides.

- units: "5s", "16MiB"; choices: the words that settings choose between
- kinds, quantities: what a value may be; schema: a struct that knows its keys
- streaming, serving, pipelines, whole: the settings, with their meanings and defaults
- combinations: what makes sense together, as data
- lines, outline, loading, environment: from what users wrote to settings, or to all that is wrong with it
- rendering: from settings to TOML and to the reference page
"""

from patinox.config.choices import (
    BackpressureStrategy,
    Dialect,
    OnAbandon,
    OverflowStrategy,
    PaceTo,
    Retain,
)
from patinox.config.pipelines import PipelineConfig
from patinox.config.rendering import explain, render_reference, render_toml
from patinox.config.serving import (
    LOCAL,
    GatewayConfig,
    ServerConfig,
    TelemetryConfig,
    UpstreamConfig,
    key_variable,
    parse_upstream,
    upstream_overrides,
)
from patinox.config.streaming import (
    BackpressureConfig,
    GrpcConfig,
    Http2Config,
    SseConfig,
    StreamingConfig,
    WebSocketConfig,
)
from patinox.config.units import format_duration, format_size, parse_duration, parse_size
from patinox.config.whole import Config
from patinox.errors import ConfigError

__all__ = [
    "LOCAL",
    "BackpressureConfig",
    "BackpressureStrategy",
    "Config",
    "ConfigError",
    "Dialect",
    "GatewayConfig",
    "GrpcConfig",
    "Http2Config",
    "OnAbandon",
    "OverflowStrategy",
    "PaceTo",
    "PipelineConfig",
    "Retain",
    "ServerConfig",
    "SseConfig",
    "StreamingConfig",
    "TelemetryConfig",
    "UpstreamConfig",
    "WebSocketConfig",
    "explain",
    "format_duration",
    "format_size",
    "key_variable",
    "parse_duration",
    "parse_size",
    "parse_upstream",
    "render_reference",
    "render_toml",
    "upstream_overrides",
]
