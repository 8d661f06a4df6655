"""A token processor of somebody's own: each step under a deadline, and left out where it fails, if it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from patinox.incremental.deadlines import Supervisor, is_failure, is_quick

OnError = Literal["closed", "open"]
_Step = tuple[Any, int]


class Watch:
    """What is known of one processor in one stream. Once it `is_out`, text passes it by."""

    def __init__(self, processor: Any, on_error: OnError, deadline_s: float, supervisor: Supervisor) -> None:
        self.name = getattr(processor, "__qualname__", type(processor).__qualname__)
        self.is_out = False
        self.failures = 0
        self._is_quick, self._on_error = is_quick(processor), on_error
        self._deadline_s, self._supervisor = deadline_s, supervisor

    def __repr__(self) -> str:
        return f"<Watch on {self.name}{', out' if self.is_out else ''}>"

    def call(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """What the step returns; None where it failed, which puts the processor out. Raises where that is not allowed.

        Each step runs in a thread, with a deadline, unless the processor is known to be quick.
        """
        if self.is_out:
            return None
        try:
            if self._is_quick:
                return step(*arguments)
            return self._supervisor.call(self.name, self._deadline_s, step, *arguments)
        except BaseException as error:
            self.failures += 1
            self.is_out = True
            if self._on_error == "closed" or not is_failure(error):
                raise
            return None


class Watched:
    """A `Processor` around one. What the processor holds is kept here too: it is what passes where it fails."""

    __slots__ = ("_kept", "_processor", "_watch", "held", "only_counts")

    def __init__(self, processor: Any, watch: Watch) -> None:
        self._processor, self._watch = processor, watch
        self.only_counts = getattr(processor, "only_counts", False)
        self._kept = ""
        self.held = 0

    def fresh(self) -> Watched:
        """As in `Processor`."""
        return Watched(self._watch.call(self._processor.fresh), self._watch)

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        fed = self._kept + text
        return self._told(fed, self._watch.call(_step, self._processor, "feed", text))

    def close(self) -> str:
        """As in `Processor`."""
        return self._told(self._kept, self._watch.call(_step, self._processor, "close"))

    def _told(self, fed: str, answer: _Step | None) -> str:
        """What leaves of `fed`, the text that the processor had in hand."""
        out, self.held = (fed, 0) if answer is None else answer
        self._kept = fed[len(fed) - self.held :] if self.held else ""
        return out


def _step(processor: Any, name: str, *text: str) -> _Step:
    out, held = getattr(processor, name)(*text), processor.held
    if not isinstance(out, str) or not isinstance(held, int):
        raise TypeError("a processor gives text, and holds a number of characters")
    return out, held
