"""Chunks, and event ids on the way out and in."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.core.chunks import Binary, End, Error, EventId, Json, Outcome, StreamChunk, Text
from patinox.core.codec import parse_event_id
from patinox.errors import InvalidEventId


def test_a_chunk_knows_its_id_kind_and_time() -> None:
    chunk = StreamChunk(17, Text("a"), 1_700_000_000.0, epoch="k3Jd82Qw")
    assert (chunk.id, chunk.kind) == ("k3Jd82Qw-17", "text")
    assert chunk.time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(Text(""), "text"), (Json(None), "json"), (Binary(b""), "binary"), (Error("a", "b"), "error"),
     (End(Outcome.COMPLETE), "end")],
)  # fmt: skip
def test_data_names_its_kind(data: object, kind: str) -> None:
    assert StreamChunk(1, data, 0.0).kind == kind


def test_an_id_with_a_part_means_the_record_before_in_another_format() -> None:
    assert EventId("e", 5, 2).whole == 4
    assert EventId("e", 5).whole == 5


EPOCHS = st.text("abcXYZ019", min_size=1, max_size=32)


@given(EPOCHS, st.integers(0, 2**63 - 1))
def test_an_event_id_comes_back_as_it_was(epoch: str, sequence: int) -> None:
    assert parse_event_id(str(EventId(epoch, sequence))) == EventId(epoch, sequence)


@given(EPOCHS, st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_an_event_id_with_a_part_comes_back_as_it_was(epoch: str, sequence: int, part: int) -> None:
    assert parse_event_id(str(EventId(epoch, sequence, part))) == EventId(epoch, sequence, part)


@pytest.mark.parametrize(
    "text",
    ["", "-", "e", "e-", "-1", "e-01", "e-1.", "e-1.0", "e-1.01", "e-0.1", "e-1.1.1", "e-+1", "e--1", "e-1 ", " e-1",
     "e 1", "e-1\n", "e-1\0", "e-¹", "e-١", "é-1", "e_f-1", "e.f-1", "a" * 33 + "-1", "e-9223372036854775808",
     "e-" + "1" * 20, "e-" + "9" * 5000, "e-1." + "9" * 19, "e-0x1", "e-1e3", "e-1_0", "e-1-1", "../e-1"],
)  # fmt: skip
def test_what_is_no_event_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidEventId) as refusal:
        parse_event_id(text)
    assert refusal.value.http_status == 400
    assert len(str(refusal.value)) < 200


@given(st.text(max_size=40))
def test_any_text_is_an_event_id_that_reads_the_same_or_refused(text: str) -> None:
    try:
        event_id = parse_event_id(text)
    except InvalidEventId:
        return
    assert str(event_id) == text
