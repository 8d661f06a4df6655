"""`[pipelines.NAME]`: what is done to text, and what is looked for in it, before anybody reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from patinox.config.choices import ChunkBy, ProcessorName
from patinox.config.kinds import Choice, Choices, Flag, Kind, Names, Tables, Text
from patinox.config.quantities import Duration, Size
from patinox.config.schema import NAME, Problem, Settings
from patinox.config.units import DAY_S, HOUR_S

_NAME_PATTERN = "[a-z0-9]+(-[a-z0-9]+)*"
_NAME_FORM = "lower-case letters and digits, with single hyphens between them"
PIPELINE_NAME = Text("A pipeline's name, by which streams are given it.", _NAME_FORM, _NAME_PATTERN)
OPTIONAL_PIPELINE_PATTERN = f"({_NAME_PATTERN})?"


class PipelineConfig(Settings, frozen=True, kw_only=True):
    """Token processors, then validators, then the chunker. What a stage is not asked for, it does not do."""

    table: ClassVar[str] = f"pipelines.{NAME}"
    name_kind: ClassVar[Kind | None] = PIPELINE_NAME

    name: str
    description: Annotated[
        str, Text("A line for people, shown where a pipeline can be chosen.", "one line of text", r"[^\x00-\x1f]*")
    ] = ""
    processors: Annotated[
        tuple[ProcessorName, ...],
        Choices(
            "What is done to text, in this order: line breaks become LF; terminal sequences and control characters are "
            "stripped; addresses of hosts that are not allowed are taken out of Markdown links and images; HTML is "
            "escaped.",
            ProcessorName,
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Names("The hosts that the processor `links` lets through: `docs.example.com`, or `*.example.com`."),
    ] = ()
    validators: Annotated[
        tuple[dict[str, Any], ...],
        Tables(
            "What is looked for, each in a table of its own: `use` says which validator, `action` what becomes of a "
            "finding, and the rest is the validator's own. Nothing they object to ever leaves.",
            "use",
        ),
    ] = ()
    deadline_s: Annotated[
        float,
        Duration(
            "How long one step of a validator may take: a search for a pattern that some text could make slow, or one "
            "question to an endpoint. Then it has failed, as its `on_error` says.",
            most=HOUR_S,
        ),
    ] = 5.0
    chunk: Annotated[ChunkBy, Choice("How text is cut anew; `token` leaves it as it comes.", ChunkBy)] = ChunkBy.TOKEN
    chunk_size: Annotated[int, Size('How large the pieces are with `chunk = "bytes"`.', most=2**20)] = 4096
    max_delay_s: Annotated[
        float, Duration("How long text may wait for the rest of its unit.", most=DAY_S, zero="as long as it takes")
    ] = 0.0
    graphemes: Annotated[bool, Flag("Whether no piece may end inside what a reader takes for one character.")] = False
    whole_tokens: Annotated[
        bool, Flag("Whether no piece may end inside a link or a mark of Markdown, or a string or a number of JSON.")
    ] = False

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """Settings of things that are not asked for."""
        for key in at:
            head, _, last = key.rpartition(".")
            if not key.startswith("pipelines."):
                continue  # the server's own `allowed_hosts` are other ones
            if last == "allowed_hosts" and at[key] and "links" not in (at.get(f"{head}.processors") or ()):
                message = f'{key} has no effect: add "links" to {head}.processors.'
                yield Problem((key, f"{head}.processors"), message)
