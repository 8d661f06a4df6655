"""From `[pipelines.NAME]` to pipelines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from patinox.config import ConfigError, PipelineConfig
from patinox.config.choices import ChunkBy, ProcessorName
from patinox.errors import InputError
from patinox.incremental.chunker import Chunker
from patinox.incremental.handler import IncrementalResponseHandler
from patinox.incremental.links import Links
from patinox.incremental.stage import AsyncStage, Stage
from patinox.incremental.terminal import Terminal
from patinox.incremental.tokens import Newlines, TokenProcessor, Tokens, escape_html
from patinox.manager.pipelines import Pipelines

MakeStage = Callable[[], Stage | AsyncStage]


class Made(msgspec.Struct, frozen=True):
    """What makes the stages, for each stream anew, and what is to be closed when no stream will come any more."""

    makers: list[MakeStage]
    closers: list[Callable[[], Awaitable[None]]]


def configured_pipelines(configs: Iterable[PipelineConfig], default: str = "") -> Pipelines:
    """The pipelines of a configuration. Raises `ConfigError`, which names the one that cannot be made."""
    return Pipelines({config.name: recipe(config) for config in configs}, default or None)


def recipe(config: PipelineConfig) -> IncrementalResponseHandler:
    """One of them. Everything is made once here, so that what cannot be made is refused at start."""
    try:
        validators = _validators(config.validators, config.deadline_s)
        makers = [*_processors(config), *validators.makers, *_chunker(config)]
        handler = IncrementalResponseHandler(
            lambda: [make() for make in makers], max_delay_s=config.max_delay_s or None,
            name=config.name, description=config.description, closers=validators.closers,
        )  # fmt: skip
        handler.new_pipeline()
    except (ConfigError, InputError) as error:
        raise ConfigError(f"pipelines.{config.name}: {error.message}") from error
    return handler


def _processors(config: PipelineConfig) -> list[MakeStage]:
    made = [_processor(name, config) for name in config.processors]
    return [lambda: Tokens(made)] if made else []


def _processor(name: ProcessorName, config: PipelineConfig) -> TokenProcessor:
    match name:
        case ProcessorName.NEWLINES:
            return Newlines()
        case ProcessorName.TERMINAL:
            return Terminal()
        case ProcessorName.LINKS:
            return Links(config.allowed_hosts)
    return escape_html


def _validators(tables: tuple[dict[str, Any], ...], deadline_s: float) -> Made:
    if not tables:
        return Made([], [])
    try:
        from patinox.manager.validators import made_of
    except ImportError as error:
        raise ConfigError(f'validators need more: pip install "patinox[validation]" ({error})') from error
    return made_of(tables, deadline_s)


def _chunker(config: PipelineConfig) -> list[MakeStage]:
    if config.chunk is ChunkBy.TOKEN and not (config.graphemes or config.whole_tokens):
        return []
    return [
        lambda: Chunker(
            config.chunk.value, size_bytes=config.chunk_size,
            graphemes=config.graphemes, whole_tokens=config.whole_tokens,
        )
    ]  # fmt: skip
