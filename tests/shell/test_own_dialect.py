"""A dialect that an application brings: transformed, relayed, and asked for over HTTP."""

from collections.abc import Sequence
from typing import Any

import pytest

from patinox import StreamManager
from patinox.asgi import PatinoxApp
from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.formats.base import Format, Frame, StreamHead, interrupted
from patinox.formats.framing import LineParser
from patinox.formats.registry import builtin
from patinox.formats.transformer import StreamTransformer
from patinox.incremental.assembler import Assembly
from patinox.testing.fakes import AsgiClient


class Reader:
    """A line is a text, a dot the end."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.ending: End | Error = interrupted("no dot")
        self._lines = LineParser()

    def feed(self, data: bytes) -> list[Any]:
        return [event for line in self._lines.feed(data) for event in self.feed_frame(line.decode())]

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        if value != ".":
            return [Text(value)]
        self.ending = End(Outcome.COMPLETE)
        return []

    def close(self) -> list[Any]:
        self._lines.close()
        return []


class Writer:
    """Numbers its lines, so that a state that is lost would be seen."""

    def initial(self, head: StreamHead) -> int:
        return 0

    def write(self, state: int, chunk: StreamChunk, assembly: Assembly) -> tuple[int, Sequence[Frame]]:
        if isinstance(chunk.data, End | Error):
            is_good = isinstance(chunk.data, End) and chunk.data.outcome is Outcome.COMPLETE
            return state, [Frame(b"." if is_good else b"!")]
        text = assembly.visible_text(chunk.data)
        return (state + 1, [Frame(f"{state} {text}".encode())]) if text else (state, ())

    def openers(self, state: int, assembly: Assembly) -> Sequence[Frame]:
        return [Frame(f"from {state}".encode())]


OWN: Format[int] = Format(
    name="own", title="Ours", content_type="text/x-own", framing="lines", reader=Reader, writer=Writer()
)
FORMATS = {**builtin(), "own": OWN}


@pytest.mark.parametrize("other", sorted(set(builtin()) - {"text"}))  # a text has no end of its own
def test_it_goes_through_every_other_and_back(other: str) -> None:
    there = StreamTransformer("own", other, formats=FORMATS)
    back = StreamTransformer(other, "own", formats=FORMATS)
    written = there.feed(b"Hel\nl") + there.feed(b"o\n.\n") + there.close()

    assert back.feed(written) + back.close() == b"0 Hel\n1 lo\n.\n"


async def test_it_is_relayed_and_served_fresh_in_the_middle_and_resumed() -> None:
    async with StreamManager(formats=FORMATS) as manager:
        stream = await manager.relay([b"Hel\nlo\nworld\n.\n"], format="own")
        assert [chunk async for chunk in stream.subscribe()][-1].is_final
        client, path = AsgiClient(PatinoxApp(manager)), f"/v1/streams/{stream.id}?format=own"
        whole = await client.request("GET", path)
        middle = await client.request("GET", f"{path}&after={stream.epoch}-1")
        rest = await client.request("GET", path, headers={"last-event-id": f"{stream.epoch}-1"})

    assert (whole.headers["content-type"], whole.body) == ("text/x-own", b"0 Hel\n1 lo\n2 world\n.\n")
    assert middle.body == b"from 1\n1 lo\n2 world\n.\n"
    assert rest.body == b"1 lo\n2 world\n.\n"
