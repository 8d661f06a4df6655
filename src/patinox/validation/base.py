"""What a validator is: a policy, and a scanner for each lane of text that it has something to say about.

A *lane* is a text that somebody will read as one: the text blocks of a message, its reasoning, the arguments of one
tool call. A *scanner* reads one lane, piece by piece, and promises two things, whatever the pieces were:

- what it finds, and where, depends on the lane's text alone;
- `frontier` never falls, and no finding that was not told yet starts below it.

So text below the smallest frontier of all scanners is either clean or part of a finding that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from patinox.errors import ConfigError

Channel = Literal["text", "reasoning", "refusal", "arguments", "value"]
"""What a lane's text is to its reader. `value` is a string inside a record that is looked at as a whole."""

OnError = Literal["closed", "open"]
"""What a validator that fails means: `closed`, the stream fails; `open`, it is left out from then on, and counted."""

EVERY_CHANNEL: frozenset[Channel] = frozenset({"text", "reasoning", "refusal", "arguments", "value"})


class Action(StrEnum):
    """What becomes of a finding."""

    PASS = "pass"  # noqa: S105
    """It leaves as it is; a verdict tells of it."""
    REDACT = "redact"
    """A mark leaves in its place."""
    REPLACE = "replace"
    """The policy's own text leaves in its place."""
    BLOCK = "block"
    """Neither it nor anything after it leaves; the stream fails."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about findings, and on which channels they are looked for.

    `replacement` stands in the place of what was withheld (and may be empty); inside JSON it is escaped. `deadline_s`
    is how long one step may take of a validator that is not known to be quick, in seconds; None, what its stage says.
    """

    action: Action = Action.REDACT
    replacement: str = "[redacted]"
    on_error: OnError = "closed"
    deadline_s: float | None = None
    channels: frozenset[Channel] = EVERY_CHANNEL

    def __post_init__(self) -> None:
        if unknown := self.channels - EVERY_CHANNEL:
            raise ConfigError(f"no such channel: {', '.join(sorted(unknown))}; there are {', '.join(EVERY_CHANNEL)}")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ConfigError(f"deadline_s is a positive number of seconds, not {self.deadline_s}")


class LaneInfo(msgspec.Struct, frozen=True):
    """Which text a scanner is asked for. `tool` is the name of the tool whose arguments it is, where known."""

    channel: Channel = "text"
    message: int = 0
    block: int | None = None
    tool: str | None = None


class Finding(msgspec.Struct, frozen=True):
    """`[start, end)` in characters of the lane; `end` is None where everything that follows is meant too.

    `rule` names what was found, and must not repeat it.
    """

    start: int
    end: int | None
    rule: str


class Scanner(Protocol):
    """Reads one lane. The two promises are at the top of this module.

    A scanner with an attribute `reads_source = True` is fed the text as it was sent, escapes and all. Its findings
    must then start at 0 or be decided at the close, with a frontier beyond any text. One with `asking` true lets text
    leave that it may still find something in; the end of a message waits for it.
    """

    @property
    def frontier(self) -> int:
        """Characters of the lane that are decided: no finding that is yet to be told starts below."""
        ...

    def feed(self, text: str) -> Sequence[Finding]:
        """What the lane's next piece of text decides. An empty piece asks whether anything was decided meanwhile."""
        ...

    def close(self) -> Sequence[Finding]:
        """The lane is over: everything is decided, unless somebody else still has to be asked."""
        ...


class Validator(Protocol):
    """A policy and a maker of scanners; has no state of its own, so one validator serves any number of streams.

    One with an attribute `is_quick = True` always comes back at once, its scanners too, and runs where the stage does.
    Each step of any other runs in a thread, under a deadline: of one scanner one after the other, of several streams
    at the same time.
    """

    @property
    def name(self) -> str:
        """What verdicts call it."""
        ...

    @property
    def policy(self) -> Policy:
        """What is done about its findings."""
        ...

    def scanner(self, lane: LaneInfo) -> Scanner | None:
        """A scanner for one lane, or None where the validator has nothing to say about such text."""
        ...
