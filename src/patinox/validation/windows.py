"""Windows on a lane for a validator that has to ask somebody: each overlaps the next, so that nothing falls between.

Window k begins at k · (size − overlap), wherever the text was cut. What lies before window k + 1 is decided when the
windows up to k were answered; the last window ends with the lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from patinox.validation.base import Finding, LaneInfo


class Window(msgspec.Struct):
    """A stretch of a lane from `start` on. `findings` is None until somebody has answered."""

    lane: LaneInfo
    start: int
    text: str
    is_last: bool = False
    findings: Sequence[Finding] | None = None


class WindowScanner:
    """Makes windows, puts them into `asked`, and tells what they were answered. With `optimistic`, it holds nothing."""

    __slots__ = ("_asked", "_base", "_closed", "_fed", "_lane", "_optimistic", "_overlap_chars", "_size_chars", "_text",
                 "_windows", "frontier")  # fmt: skip

    def __init__(
        self, lane: LaneInfo, asked: deque[Window], *, size_chars: int, overlap_chars: int, optimistic: bool
    ) -> None:
        self._lane, self._asked, self._optimistic = lane, asked, optimistic
        self._size_chars, self._overlap_chars = size_chars, overlap_chars
        self._text, self._base = "", 0  # what the windows to come need, and where in the lane it starts
        self._windows: deque[Window] = deque()  # not told yet, in their order
        self._fed, self._closed = 0, False
        self.frontier = 0

    @property
    def asking(self) -> bool:
        """Whether a window was not answered yet."""
        return bool(self._windows)

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        self._text += text
        self._fed += len(text)
        while len(self._text) >= self._size_chars:
            self._ask(self._text[: self._size_chars])
            step = self._size_chars - self._overlap_chars
            self._text, self._base = self._text[step:], self._base + step
        return self._tell()

    def close(self) -> Sequence[Finding]:
        """See `Scanner`. The last window may still have to be answered."""
        self._closed = True
        # What is left may have been a part of the window before.
        if len(self._text) > self._overlap_chars or (self._text and not self._base):
            self._ask(self._text, is_last=True)
        return self._tell()

    def _ask(self, text: str, *, is_last: bool = False) -> None:
        window = Window(self._lane, self._base, text, is_last)
        self._windows.append(window)
        self._asked.append(window)

    def _tell(self) -> Sequence[Finding]:
        told: list[Finding] = []
        while self._windows and self._windows[0].findings is not None:
            told += self._windows.popleft().findings or ()
        if self._optimistic or (self._closed and not self._windows):
            self.frontier = self._fed
        else:
            self.frontier = self._windows[0].start if self._windows else self._base
        return told
