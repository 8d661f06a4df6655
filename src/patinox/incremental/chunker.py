"""The chunker: how large the pieces are that readers get.

    Chunker("sentence")                      one chunk a sentence
    Chunker("token", graphemes=True)         as the model says it, and no emoji in two
    Chunker("bytes", size_bytes=4096)        as few, large chunks as can be

Joined, what leaves a block is what came into it. Units of one stream are the same however its text came, but for
`token`, which is as it comes. Time is the handler's: at `max_delay` it calls `flush`, and what is there leaves, but
not inside what was to be kept whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from patinox.core.chunks import Binary, Json, Text
from patinox.core.events import BlockDelta, Metadata, Native, Usage
from patinox.errors import InputError
from patinox.incremental import guards
from patinox.incremental.cutting import Cutter
from patinox.incremental.guards import Guard
from patinox.incremental.lanes import SCOPED, LaneKey, LaneStage
from patinox.incremental.units import Blocks, Never, Unit, bytes_end, lines, sentences, words

By = Literal["token", "word", "sentence", "line", "block", "bytes"]
_UNITS: dict[str, Callable[[], Unit]] = {
    "word": words, "sentence": sentences, "line": lines, "block": Blocks, "bytes": Never,
}  # fmt: skip
_MAX_CHARS = 4096


class Chunker(LaneStage):
    """Cuts the text of each block anew; argument text (`json.append`) only by token or bytes.

    `graphemes`: no cut inside what a reader takes for one character (needs the `regex` package). `whole_tokens`: none
    inside a link, an image or a run of marks of Markdown, nor inside a string, a number or a literal of JSON.
    A piece has `max_chars` characters at most, whatever that cuts. A record that is no delta ends what its message
    holds; `Native`, `Usage`, `Metadata`, annotations and probabilities wait for the text before them instead.
    Raises `InputError` for settings that make no sense.
    """

    is_quick = True

    def __init__(
        self,
        by: By = "token",
        *,
        size_bytes: int = 4096,
        graphemes: bool = False,
        whole_tokens: bool = False,
        max_chars: int = _MAX_CHARS,
    ) -> None:
        super().__init__()
        if by != "token" and by not in _UNITS:
            raise InputError(f"a chunker cuts by token, {', '.join(_UNITS)}, not by {by!r}")
        if size_bytes < 1 or max_chars < 1:
            raise InputError("size_bytes and max_chars are at least 1")
        self._by = by
        self._size_bytes = size_bytes
        self._max_chars = max_chars
        self._whole_tokens = whole_tokens
        self._guards: tuple[Guard, ...] = (_graphemes(),) if graphemes else ()

    def __repr__(self) -> str:
        return f"<Chunker by {self._by}>"

    def worker(self, key: LaneKey) -> Cutter:
        """As in `LaneStage`."""
        is_json = key[2] == "json.append"
        unit = None if self._by == "token" or (is_json and self._by != "bytes") else _UNITS[self._by]()
        token_guard: Guard = guards.json if is_json else guards.markdown
        whole = (token_guard,) if self._whole_tokens else ()
        return Cutter(unit, (*self._guards, *whole), self._longest)

    def ends(self, data: Any) -> bool | tuple[int, int | None]:
        """As in `LaneStage`: an event ends its message's lanes, the application's own records end all."""
        match data:
            case BlockDelta(op="replace"):
                return (data.message, data.block)
            case BlockDelta() | Native() | Usage() | Metadata():
                return False
            case Text() | Json() | Binary():
                return True
        return (data.message, None) if isinstance(data, SCOPED) else True

    def _longest(self, text: str, start: int) -> int | None:
        if self._by == "bytes":
            return bytes_end(text, start, self._size_bytes)
        return start + self._max_chars if len(text) - start >= self._max_chars else None


def _graphemes() -> Guard:
    try:
        from patinox.incremental.graphemes import graphemes
    except ImportError as error:
        raise InputError('graphemes need the regex package: pip install "patinox[validation]"') from error
    return graphemes
