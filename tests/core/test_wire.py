"""How frames become bytes on each kind of connection."""

import msgspec
import pytest
from tests.tally import tally

from patinox.core.attach import AttachOutcome, Gap
from patinox.delivery.wire import NativeLinesWire, PlainWire, SseWire, Wire, gap_event, position_event
from patinox.formats.base import Frame
from patinox.formats.patinox import PATINOX
from patinox.formats.text import TEXT

NATIVE = SseWire(PATINOX, ids=True, controls=True, retry_ms=1500)
FOREIGN = SseWire(tally(), ids=False, controls=False, retry_ms=1500)
FOREIGN_IDS = SseWire(tally(), ids=True, controls=False)
LINES = PlainWire(tally("lines"))
RAW = PlainWire(TEXT)
NDJSON = NativeLinesWire()
ALL: list[Wire] = [NATIVE, FOREIGN, FOREIGN_IDS, LINES, RAW, NDJSON]


def test_the_last_frame_of_a_record_has_its_id_and_earlier_ones_their_number() -> None:
    frames = [Frame(b"a"), Frame(b"b"), Frame(b"c", "x")]
    assert FOREIGN_IDS.record("e-5", frames) == (
        b"id: e-5.1\ndata: a\n\nid: e-5.2\ndata: b\n\nid: e-5\nevent: x\ndata: c\n\n"
    )


def test_a_foreign_dialect_has_no_ids_unless_asked() -> None:
    assert FOREIGN.record("e-5", [Frame(b"a")]) == b"data: a\n\n"
    assert FOREIGN.record("e-5", [Frame(b"a"), Frame(b"b")]) == b"data: a\n\ndata: b\n\n"


def test_frames_of_no_record_have_no_ids() -> None:
    assert FOREIGN_IDS.record("", [Frame(b"a"), Frame(b"b")]) == b"data: a\n\ndata: b\n\n"


def test_a_bare_frame_goes_out_as_it_is() -> None:
    assert FOREIGN_IDS.record("e-1", [Frame(b'{"error":1}\n', bare=True)]) == b'{"error":1}\n'


def test_lines_and_raw_bytes_carry_payloads_alone() -> None:
    assert LINES.record("e-1", [Frame(b"{}"), Frame(b"[]")]) == b"{}\n[]\n"
    assert RAW.record("e-1", [Frame(b"a\n"), Frame(b"b")]) == b"a\nb"


def test_ndjson_has_the_record_as_one_object_a_line() -> None:
    line = NDJSON.record("e-7", [Frame(b'{"text":"a"}', "text")])
    assert line.endswith(b"\n")
    assert msgspec.json.decode(line) == {"id": "e-7", "event": "text", "data": {"text": "a"}}


def test_the_position_has_its_id_and_a_gap_has_none() -> None:
    assert position_event(NATIVE, AttachOutcome.RESUMED, "e-4").startswith(b"id: e-4\nevent: position\ndata: {")
    assert gap_event(NATIVE, Gap(2, 5)) == b'event: gap\ndata: {"from":2,"to":5}\n\n'
    assert gap_event(NDJSON, Gap(2, 5)) == b'{"event":"gap","data":{"from":2,"to":5}}\n'
    position = msgspec.json.decode(position_event(NDJSON, AttachOutcome.START, "e-0"))
    assert (position["id"], position["event"], position["data"]["outcome"]) == ("e-0", "position", "start")


@pytest.mark.parametrize("wire", [FOREIGN, FOREIGN_IDS, LINES, RAW])
def test_foreign_wires_say_no_control_event(wire: Wire) -> None:
    assert gap_event(wire, Gap(1, 2)) + position_event(wire, AttachOutcome.GAP, "e-0") + wire.opening() == b""
    assert not wire.controls


def test_only_native_event_streams_open_with_a_retry_time() -> None:
    assert NATIVE.opening() == b"retry: 1500\n\n"
    assert SseWire(PATINOX, ids=True, controls=True).opening() == NDJSON.opening() == b""


def test_only_raw_bytes_have_to_be_cut_to_say_a_failure() -> None:
    assert [wire.aborts for wire in ALL] == [False, False, False, False, True, False]
    assert RAW.heartbeat == b""


@pytest.mark.parametrize("wire", [wire for wire in ALL if wire is not RAW])
def test_a_heartbeat_is_no_event(wire: Wire) -> None:
    assert wire.heartbeat.strip() in (b"", b":")
