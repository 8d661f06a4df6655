"""What waits in the queue, and of a delta at its head: which characters leave, and what stands in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from patinox.validation.lanes import Group, Lane
from patinox.validation.views import SCALAR, STRING, Piece, first_at, owner, quoted

_RECORD_CHARS: Final = 100  # what a record without text counts as


class TextEntry(msgspec.Struct):
    """A delta that waits; what is before `at` has left or was withheld. `replaces`: it puts a block's text anew."""

    record: Any
    lane: Lane
    piece: Piece
    replaces: bool = False
    at: int = 0

    @property
    def size(self) -> int:
        """Characters of it that count as held, whatever part has left."""
        return len(self.piece.text)


class Plain(msgspec.Struct):
    """A record that leaves when it is at the head. `make`, where given, makes it anew then."""

    out: Sequence[Any]
    make: Callable[[], Any] | None = None
    size: int = _RECORD_CHARS


class Closing(msgspec.Struct):
    """The end of a lane: what was found at its very end is told here."""

    lane: Lane
    size: int = 0


def cut(entry: TextEntry, emit: Callable[[str], None], tell: Callable[[Group], bool]) -> bool:
    """Lets go of as much as is decided; whether that was all. `tell` says whether the stream ends with a group."""
    lane, piece = entry.lane, entry.piece
    parts: list[str] = []
    ended = False
    while entry.at < len(piece.text):
        place = owner(piece, entry.at)
        group = lane.groups[0] if lane.groups else None
        if group is None or place < group.start:
            if not _pass_on(entry, lane.limit if group is None else min(lane.limit, group.start), parts):
                break
        elif not group.announced:
            _emit(parts, emit)
            if ended := tell(group):
                break
        elif group.end is None or place < group.end:
            _withhold(entry, group, parts)
        else:
            lane.groups.popleft()
    _emit(parts, emit)
    return entry.at >= len(piece.text) or ended


def _emit(parts: list[str], emit: Callable[[str], None]) -> None:
    if text := "".join(parts):
        emit(text)
    parts.clear()


def _pass_on(entry: TextEntry, limit: int, parts: list[str]) -> bool:
    """Moves the clean text below `limit` to `parts`; whether there was any."""
    lane, piece, start = entry.lane, entry.piece, entry.at
    stop = first_at(piece, limit, start)
    if stop == start:
        return False
    text = piece.text[start:stop]
    if piece.classes:
        if lane.dropping:
            text = _without_scalar(lane, piece, start, stop)
        _remember(lane, piece, stop)
    parts.append(text)
    entry.at, lane.passed = stop, owner(piece, stop - 1) + 1
    return True


def _without_scalar(lane: Lane, piece: Piece, start: int, stop: int) -> str:
    """The text without the rest of a number whose beginning was withheld."""
    while start < stop and piece.classes[start] == SCALAR:
        start += 1
    lane.dropping = start == stop
    return piece.text[start:stop]


def _remember(lane: Lane, piece: Piece, stop: int) -> None:
    lane.last = piece.text[stop - 1] + piece.classes[stop - 1]


def _withhold(entry: TextEntry, group: Group, parts: list[str]) -> None:
    """Passes over what is in the group, and puts its replacement where it begins."""
    lane, piece, start = entry.lane, entry.piece, entry.at
    stop = len(piece.text) if group.end is None else first_at(piece, group.end, start)
    if piece.classes:
        _withhold_json(lane, piece, start, stop, group, parts)
    elif not group.marked:
        group.marked = True
        parts.append(group.replacement)
    entry.at, lane.passed = stop, owner(piece, stop - 1) + 1


def _withhold_json(lane: Lane, piece: Piece, start: int, stop: int, group: Group, parts: list[str]) -> None:
    """Within JSON only what is inside strings, numbers and literals is withheld, so that it stays JSON."""
    for at in range(start, stop):
        kind = piece.classes[at]
        if kind == STRING:
            parts.append(_mark(group))
        elif kind != SCALAR:
            parts.append(piece.text[at])
            lane.dropping = False
        elif lane.last[-1:] != SCALAR:  # the whole number goes, and a string stands in its place
            parts.append(f'"{_mark(group)}"')
            lane.dropping = True
        elif not lane.dropping:  # its beginning has left: what there is must be a number by itself
            parts.append("0" if lane.last[:1] in "-+.eE" else "")
            lane.dropping = True
        lane.last = piece.text[at] + kind


def _mark(group: Group) -> str:
    mark = "" if group.marked else quoted(group.replacement)
    group.marked = True
    return mark
