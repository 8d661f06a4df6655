"""Where pieces are shown: plainly for pipes, with rich on a terminal. Text goes to stdout, all else to stderr."""

from __future__ import annotations

import re
import sys
from typing import IO, Protocol

import click

from patinox.cli.transcript import Piece

# A model's text must not move the cursor, set the title or paste into the terminal: no C0 but tab and line feed, no C1.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_EVENT_CHARS = 160


class Screen(Protocol):
    """Shows one stream."""

    is_terminal: bool

    def show(self, piece: Piece) -> None:
        """Shows a piece as soon as it is there."""
        ...

    def raw(self, data: bytes) -> None:
        """Writes bytes to stdout, untouched."""
        ...

    def note(self, text: str) -> None:
        """Says something about the stream, on stderr."""
        ...

    def status(self, text: str) -> None:
        """Says what only a person at a terminal wants to know."""
        ...

    def end_line(self) -> None:
        """Ends the last line of text, if it is not ended."""
        ...


class PlainScreen:
    """For pipes: the text, as it is, and nothing else on stdout."""

    is_terminal = False

    def __init__(self) -> None:
        self._out: IO[bytes] = sys.stdout.buffer
        self._mid_line = False

    def show(self, piece: Piece) -> None:
        """Text to stdout, notes to stderr; the rest is not shown."""
        if piece.kind == "text":
            self.raw(piece.text.encode("utf-8", "replace"))
        elif piece.kind == "note":
            self.note(piece.text)

    def raw(self, data: bytes) -> None:
        """Written and flushed."""
        self._out.write(data)
        self._out.flush()
        self._mid_line = not data.endswith(b"\n") if data else self._mid_line

    def note(self, text: str) -> None:
        """A line of its own."""
        click.echo(f"patinox: {text}", err=True)

    def status(self, text: str) -> None:
        """Nobody is there to see it."""

    def end_line(self) -> None:
        """With one line feed."""
        if self._mid_line:
            self.raw(b"\n")


class RichScreen:
    """For terminals: reasoning, notes and (with `events`) other events are dim. Honours NO_COLOR, as rich does."""

    is_terminal = True

    def __init__(self, *, events: bool) -> None:
        from rich.console import Console

        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._err = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)
        self._events = events
        self._last: str | None = None
        self._mid_line = False

    def show(self, piece: Piece) -> None:
        """Text and reasoning run on; every other piece has a line."""
        if piece.kind == "note":
            self.note(piece.text)
        elif piece.kind == "event":
            if self._events:
                self._line(printable(piece.text)[:_EVENT_CHARS])
        else:
            self._run_on(piece)

    def raw(self, data: bytes) -> None:
        """To the terminal as it is: that was asked for."""
        out = sys.stdout.buffer
        out.write(data)
        out.flush()

    def note(self, text: str) -> None:
        """A line of its own, in yellow."""
        self.end_line()
        self._err.print(printable(text), style="yellow")

    def status(self, text: str) -> None:
        """A dim line."""
        self.end_line()
        self._err.print(printable(text), style="dim")

    def end_line(self) -> None:
        """With one line feed."""
        if self._mid_line:
            self._out.print()
            self._mid_line = False

    def _run_on(self, piece: Piece) -> None:
        text = printable(piece.text)
        if self._last not in (None, piece.kind):
            self.end_line()
            self._out.print()
        self._last = piece.kind
        self._out.print(text, end="", style="dim" if piece.kind == "reasoning" else None)
        self._mid_line = not text.endswith("\n") if text else self._mid_line

    def _line(self, text: str) -> None:
        self.end_line()
        self._out.print(text, style="dim")


def make_screen(*, events: bool) -> Screen:
    """The screen that fits where stdout goes. `events` shows on a terminal what is neither text nor reasoning."""
    return RichScreen(events=events) if sys.stdout.isatty() else PlainScreen()


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return _CONTROLS.sub("", text)
