"""WebSocket frames and connections under anything a client may send, cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.websocket_peer import Peer, close, echo, masked, parse, peer, request, settle, text

from patinox.server.websocket_deflate import negotiate, parse_offers
from patinox.server.websocket_frames import Binary, Close, MessageReader, Ping, Pong, Received, Text
from patinox.server.websocket_handshake import Refused, read_request
from patinox.transports.websocket.frames import (
    CloseCode,
    Opcode,
    Violation,
    apply_mask,
    apply_mask_slowly,
    deflated,
    frame,
)

LIMIT = 4096

texts = st.text(max_size=300)
blobs = st.binary(max_size=300)
cuts = st.lists(st.integers(0, 2000), max_size=12)
controls = st.lists(st.builds(Ping, st.binary(max_size=125)) | st.builds(Pong, st.binary(max_size=125)), max_size=2)
messages = st.builds(Text, texts) | st.builds(Binary, blobs)


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place for place in at if place < len(data))})
    return [data[start:end] for start, end in pairwise(places)]


def outcome(pieces: Iterable[bytes], *, deflate: bool = False) -> tuple[list[Received], int, int]:
    """What is read, the code of the violation (0: none), and how many pieces it took to see it."""
    reader, count = MessageReader(LIMIT, deflate=deflate), 0
    found: list[Received] = []
    for count, piece in enumerate(pieces, 1):
        reader.feed(piece)
        try:
            found += list(iter(reader.next, None))
        except Violation as violation:
            return found, violation.code, count
    return found, 0, count


@st.composite
def frames_of(draw: st.DrawFn, message: Text | Binary, deflate: bool) -> tuple[bytes, list[Received]]:
    """A message in any number of parts, with control frames between, and all that is to be read."""
    payload = message.data.encode() if isinstance(message, Text) else message.data
    rsv1 = deflate and draw(st.booleans())
    pieces = cut(deflated(payload, 15) if rsv1 else payload, draw(cuts)) or [b""]
    opcode = Opcode.TEXT if isinstance(message, Text) else Opcode.BINARY
    sent, read = b"", []
    for k, piece in enumerate(pieces):
        sent += masked(Opcode.CONTINUATION if k else opcode, piece, fin=k == len(pieces) - 1, rsv1=rsv1 and not k)
        for control in draw(controls) if k < len(pieces) - 1 else ():
            sent += masked(Opcode.PING if isinstance(control, Ping) else Opcode.PONG, control.data)
            read.append(control)
    return sent, [*read, message]


@settings(deadline=None)
@given(st.data(), st.lists(messages, max_size=4), st.booleans(), cuts)
def test_messages_are_read_however_they_are_split_and_cut(
    data: st.DataObject, sent: list[Text | Binary], deflate: bool, at: list[int]
) -> None:
    made = [data.draw(frames_of(message, deflate)) for message in sent]
    wire = b"".join(frames for frames, _ in made) + close(1001)
    read = [received for _, reads in made for received in reads]
    assert outcome(cut(wire, at), deflate=deflate)[:2] == ([*read, Close(1001, "")], 0)


def can_go_on(prefix: bytes) -> bool:
    """Whether some text begins with these bytes."""
    for more in (b"", b"\x80", b"\xbf", b"\x80\x80", b"\xbf\xbf", b"\x80\x80\x80", b"\xbf\xbf\xbf"):
        with contextlib.suppress(UnicodeDecodeError):
            (prefix + more).decode()
            return True
    return False


@settings(deadline=None)
@given(
    st.binary(max_size=40)
    | st.builds(lambda said, junk: said.encode() + junk, st.text(max_size=9), st.binary(max_size=9))
)
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
def test_text_is_refused_at_the_first_byte_that_cannot_go_on(payload: bytes) -> None:
    wire = masked(Opcode.TEXT, payload, fin=False)
    head = len(wire) - len(payload)
    bad = next((k for k in range(1, len(payload) + 1) if not can_go_on(payload[:k])), None)
    _, code, count = outcome(wire[k : k + 1] for k in range(len(wire)))
    assert (code, count) == ((0, len(wire)) if bad is None else (CloseCode.INVALID_DATA, head + bad))


@settings(deadline=None)
@given(st.binary(max_size=2000), cuts, st.booleans())
def test_any_bytes_are_read_or_refused_wherever_they_are_cut(wire: bytes, at: list[int], deflate: bool) -> None:
    whole = outcome([wire], deflate=deflate)
    assert outcome(cut(wire, at), deflate=deflate)[:2] == whole[:2]


first_bytes = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x41, 0xC2])
junk_frames = st.builds(
    lambda first, length, rest: bytes((first, 0x80 | length)) + rest, first_bytes, st.integers(0, 127), blobs
)


@settings(deadline=None)
@given(st.lists(junk_frames, max_size=8).map(b"".join), cuts)
def test_what_looks_like_frames_is_read_or_refused_wherever_it_is_cut(wire: bytes, at: list[int]) -> None:
    whole = outcome([wire], deflate=True)
    assert outcome(cut(wire, at), deflate=True)[:2] == whole[:2]


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), cuts)
def test_any_bytes_are_inflated_or_refused_and_never_beyond_the_limit(
    payload: bytes, more: bytes, at: list[int]
) -> None:
    for candidate in (payload, deflated(payload * 50, 15) + more):
        wire = masked(Opcode.BINARY, candidate, rsv1=True)
        found, code, _ = outcome(cut(wire, at), deflate=True)
        assert bool(found) is not bool(code)
        assert all(isinstance(received, Binary) and len(received.data) <= LIMIT for received in found)


@settings(deadline=None)
@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_both_ways_to_mask_are_one(data: bytes, mask: bytes) -> None:
    assert apply_mask_slowly(data, mask) == apply_mask(data, mask)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=500), max_size=5), st.booleans())
def test_joined_frames_come_apart_again(payloads: list[bytes], deflate: bool) -> None:
    found = parse(b"".join(frame(payload, deflate=deflate) for payload in payloads))
    wire = b"".join(masked(Opcode.BINARY, each.payload, rsv1=each.rsv1) for each in found)
    read, code, _ = outcome([wire], deflate=True)
    assert (read, code) == ([Binary(payload) for payload in payloads], 0)


offers = st.text(st.sampled_from('permsage-dflt; =,"\\10x\t') | st.characters(max_codepoint=255), max_size=60)


@settings(deadline=None)
@given(offers | offers.map("permessage-deflate; ".__add__))
def test_any_offer_is_read_or_refused(header: str) -> None:
    with contextlib.suppress(ValueError):
        agreement = negotiate(parse_offers(header))
        assert agreement is None or 9 <= agreement.window_bits <= 15


@st.composite
def handshakes(draw: st.DrawFn) -> bytes:
    """A handshake, broken in some places."""
    raw = bytearray(request(sec_websocket_extensions="permessage-deflate", sec_websocket_protocol="patinox.v1"))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


@settings(deadline=None)
@given(handshakes() | st.binary(max_size=200))
def test_any_request_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(Refused):
        read_request(raw)


# ── whole connections: they end, and leave nothing ──


@settings(deadline=None)
@given(handshakes() | st.binary(max_size=200), st.lists(st.binary(max_size=200), max_size=3))
def test_no_client_breaks_a_connection(raw: bytes, pieces: list[bytes]) -> None:
    async def run() -> None:
        async with peer(echo, max_frame_size=LIMIT) as client:
            await client.send_raw(raw)
            for piece in pieces:
                await client.send_raw(piece)

    asyncio.run(run())  # `peer` sees to it that nothing is left


class Driven:
    """An application that echoes, and does what it is told meanwhile."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            self.heard.append(event.get("text", ""))
            await send({**event, "type": "websocket.send"})


WORDS: dict[str, int] = {"text": 1, "many": 80}
"""How many messages a step sends."""

FRAMES = {"ping": masked(Opcode.PING, b"?"), "junk": b"\xff\xff", "close": close(1001)}

STEPS = (
    *WORDS, *WORDS, *FRAMES, "leave", "full", "full", "taken", "taken", "beat", "time",
    "app closes", "app ends", "server ends", "shared",
)  # fmt: skip


async def do(step: str, client: Peer, said: list[str]) -> None:
    protocol, transport = client.protocol, client.transport
    match step:
        case "text" | "many":
            more = [str(len(said) + k) for k in range(WORDS[step])]
            if hears(client, *map(text, more)):
                said += more
        case "ping" | "junk" | "close":
            hears(client, FRAMES[step])
        case "leave":
            transport.close()
        case "full" if not transport.closes:
            protocol.pause_writing()
        case "taken":
            protocol.resume_writing()
        case "beat":
            protocol.pulse.beat(asyncio.get_running_loop())
        case "time":
            await client.clock.pass_time()
        case "app closes":
            with contextlib.suppress(OSError):
                await protocol.send({"type": "websocket.close", "code": 4408})
        case "app ends":
            for task in tuple(client.server.tasks):
                task.cancel()
        case "server ends":
            protocol.shutdown()
        case "shared":
            with contextlib.suppress(OSError):
                pending = protocol.direct_sink().push(frame(b"shared"))
                if pending is not None:
                    asyncio.ensure_future(pending).add_done_callback(asyncio.Future.exception)


def hears(client: Peer, *frames: bytes) -> bool:
    """Whether the server reads at all; then it gets these."""
    can = not client.transport.closes and client.transport.is_reading
    if can:
        client.protocol.data_received(b"".join(frames))
    return can


class Echo:
    """An application that echoes, and knows what it has heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            self.heard.append(event["text"])
            await send({**event, "type": "websocket.send"})


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(STEPS), max_size=14))
@example(["full", "many", "close", "taken", "time"])
@example(["full", "many", "text", "taken", "text", "close"])
@example(["full", "many", "junk", "app closes", "time"])
@example(["app closes", "beat", "beat", "beat", "beat"])
def test_whatever_happens_frames_are_whole_answers_in_order_and_the_close_the_last(plan: list[str]) -> None:
    async def run() -> None:
        app, said = Echo(), list[str]()
        async with peer(app) as client:
            await client.open()
            for step in plan:
                await do(step, client, said)
                await settle()
            written = parse(client.take())
        answers = [found.payload.decode() for found in written if found.opcode == Opcode.TEXT]
        answers = [answer for answer in answers if answer != "shared"]
        assert app.heard == said[: len(app.heard)]
        assert answers == said[: len(answers)]
        closes = [k for k, found in enumerate(written) if found.opcode == Opcode.CLOSE]
        assert closes in ([], [len(written) - 1])

    asyncio.run(run())
