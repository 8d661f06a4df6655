"""Token processors: what is done to a model's words before anybody checks or reads them.

    Tokens([Newlines(), Terminal(), escape_html, Links(allowed_hosts=["docs.example.com"])])

A processor is a function `str → str`, called with each piece as it comes, or an object with a state (`Processor`), of
which each block gets one of its own: what those give depends on the text alone, not on how it was cut. They run in
the order of the list, on text; arguments of tools are left as they are.

One that does not say `is_quick` runs in a thread, each step under a deadline (`deadlines.py`).
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from patinox.core.events import BlockDelta, BlockEnd
from patinox.incremental.deadlines import DEADLINE_S, SUPERVISOR, Supervisor, is_quick, positive, quick
from patinox.incremental.lanes import LaneKey, LaneStage
from patinox.incremental.watched import OnError, Watch, Watched


@runtime_checkable
class Processor(Protocol):
    """A processor with a state."""

    def fresh(self) -> Processor:
        """One like this for another text, from its start."""
        ...

    def feed(self, text: str) -> str:
        """What the next piece of the text becomes; may be less, with the rest held back, or more."""
        ...

    def close(self) -> str:
        """The text is over: what becomes of the rest."""
        ...

    @property
    def held(self) -> int:
        """How many characters are held back."""
        ...


TokenProcessor = Callable[[str], str] | Processor


class Tokens(LaneStage):
    """The stage that runs processors, in their order; one for each stream.

    A processor that raises, or whose step takes longer than `deadline_s`, has failed: with `on_error = "closed"` the
    pipeline does too; with `"open"` it is left out of this stream from then on, the text that it had in hand passes as
    it was, and `failures` counts it.
    """

    supervises = True

    def __init__(
        self,
        processors: Sequence[TokenProcessor],
        *,
        on_error: OnError = "closed",
        deadline_s: float = DEADLINE_S,
        supervisor: Supervisor = SUPERVISOR,
    ) -> None:
        super().__init__()
        self.is_quick = all(map(is_quick, processors))
        self._watches: list[Watch] = []
        self._processors = tuple(map(_stateful, processors))
        if not self.is_quick or on_error == "open":
            self._watches = [Watch(p, on_error, positive(deadline_s), supervisor) for p in processors]
            self._processors = tuple(map(Watched, self._processors, self._watches))

    @property
    def failures(self) -> dict[str, int]:
        """Processors that were left out, by name, and how often."""
        return {watch.name: watch.failures for watch in self._watches if watch.failures}

    def worker(self, key: LaneKey) -> Chain | None:
        """As in `LaneStage`."""
        return Chain(self._processors) if key[2] == "text.append" or key[2] == "text" else None

    def rewrite(self, data: Any) -> Any:
        """As in `LaneStage`; a text that is told whole is processed whole."""
        data = super().rewrite(data)
        if type(data) is BlockDelta and data.op == "replace":
            return msgspec.structs.replace(data, text=self._whole(data.text), value=self._whole(data.value), ext=None)
        if type(data) is BlockEnd and isinstance(data.value, str):
            return msgspec.structs.replace(data, value=self._whole(data.value), ext=None)
        return data

    def ends(self, data: Any) -> bool | tuple[int, int | None]:
        """As in `LaneStage`: a text that is put in another's place ends that."""
        if type(data) is BlockDelta and data.op == "replace":
            return (data.message, data.block)
        return super().ends(data)

    def _whole(self, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        chain = Chain(tuple(p for p in self._processors if not getattr(p, "only_counts", False)))
        return "".join([*chain.feed(text), *chain.close()])


class Chain:
    """Processors in a row, for one lane."""

    __slots__ = ("_links",)

    def __init__(self, processors: Sequence[Processor]) -> None:
        self._links = tuple(processor.fresh() for processor in processors)

    @property
    def held(self) -> int:
        """How many characters all of them hold."""
        return sum([link.held for link in self._links])

    def feed(self, text: str) -> list[str]:
        """What leaves the last one."""
        for link in self._links:
            text = link.feed(text)
            if not text:
                return []
        return [text] if text else []

    def flush(self) -> list[str]:
        """Nothing: what is held here waits for text, not for time."""
        return []

    def close(self) -> list[str]:
        """The rest, each processor's through all that follow."""
        text = ""
        for link in self._links:
            text = (link.feed(text) if text else "") + link.close()
        return [text] if text else []


class _Stateless:
    """A function, as a processor."""

    __slots__ = ("_function",)
    held = 0

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function

    def fresh(self) -> _Stateless:
        return self

    def feed(self, text: str) -> str:
        return self._function(text)

    def close(self) -> str:
        return ""


def _stateful(processor: TokenProcessor) -> Processor:
    return processor if isinstance(processor, Processor) else _Stateless(processor)


@quick
def escape_html(text: str) -> str:
    """`&`, `<`, `>` and quotes as character references, for text that is put into a page as it is."""
    return html.escape(text)


class Newlines:
    """CR LF and CR become LF. Holds nothing: the LF after a CR is left out when it comes."""

    __slots__ = ("_after_cr",)
    held = 0
    is_quick = True

    def __init__(self) -> None:
        self._after_cr = False

    def fresh(self) -> Newlines:
        """As in `Processor`."""
        return Newlines()

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if "\r" not in text:
            return text
        self._after_cr = text.endswith("\r")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def close(self) -> str:
        """As in `Processor`."""
        return ""
