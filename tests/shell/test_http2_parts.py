"""The parts of an HTTP/2 connection by themselves: the budget for resets, what is unsent, and whose turn it is."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypercorn.protocol.h2 import BufferCompleteError
from hyperframe.frame import DataFrame, Frame, PingFrame, RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from patinox.server.http2.budget import ResetBudget
from patinox.server.http2.frames import FrameLengths, count_resets
from patinox.server.http2.outgoing import HIGH_WATER_BYTES, Outbox, Turns
from patinox.testing.fakes import turns


def test_a_budget_is_spent_and_fills_up_again() -> None:
    budget = ResetBudget(10, 2, now_s=0)
    assert budget.spend(10, 0)
    assert not budget.spend(1, 0)
    assert budget.spend(1, 1)
    assert budget.spend(10, 100)
    assert not budget.spend(1, 100)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=50))
def test_no_more_is_ever_spent_than_the_burst_and_what_has_come_in(spent: list[tuple[float, int]]) -> None:
    budget, now_s, total = ResetBudget(20, 3, now_s=0), 0.0, 0
    for wait_s, count in spent:
        now_s += wait_s
        if not budget.spend(count, now_s):
            break
        total += count
        assert total <= 20 + 3 * now_s + 1e-6


@given(
    st.lists(
        st.one_of(
            st.builds(RstStreamFrame, st.integers(1, 99)),
            st.builds(lambda data: DataFrame(1, data), st.binary(max_size=50)),
            st.builds(lambda: PingFrame(0, opaque_data=b"\x03" * 8)),
        )
    )
)
def test_resets_are_counted_among_any_frames(frames: list[Frame]) -> None:
    data = b"".join(frame.serialize() for frame in frames)
    assert count_resets(data) == sum(isinstance(frame, RstStreamFrame) for frame in frames)


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_lengths_are_seen_however_the_bytes_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(DataFrame(1, body).serialize() for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[first:last] for first, last in itertools.pairwise([0, *cuts, len(sent)])]
    most = data.draw(st.integers(0, 40))
    lengths = FrameLengths(most)
    assert all(lengths.admit(piece) for piece in pieces) == all(len(body) <= most for body in bodies)


async def test_a_push_waits_while_there_is_too_much() -> None:
    outbox = Outbox()
    await outbox.push(b"x" * (HIGH_WATER_BYTES - 1))
    pushing = asyncio.create_task(outbox.push(b"y"))
    await turns()
    assert not pushing.done()
    assert outbox.take(1) == b"x"
    await pushing
    assert len(outbox) == HIGH_WATER_BYTES - 1


async def test_draining_waits_for_the_end_where_it_was_said() -> None:
    outbox = Outbox()
    await outbox.push(b"abc")
    outbox.set_complete()
    draining = asyncio.create_task(outbox.drain())
    await turns()
    assert outbox.take(10) == b"abc"
    assert outbox.ends
    await turns()
    assert not draining.done()
    outbox.close_nowait()
    await draining


async def test_whoever_waits_is_let_go_when_the_stream_is_closed() -> None:
    outbox = Outbox()
    waiting = [asyncio.create_task(outbox.push(b"x" * HIGH_WATER_BYTES)), asyncio.create_task(outbox.drain())]
    await turns()
    await outbox.close()
    await asyncio.gather(*waiting)
    with pytest.raises(BufferCompleteError):
        outbox.put(b"more")


async def test_one_that_waits_can_be_cancelled_and_the_others_go_on() -> None:
    outbox = Outbox()
    outbox.put(b"x" * HIGH_WATER_BYTES)
    leaving, staying = asyncio.create_task(outbox.room()), asyncio.create_task(outbox.room())
    await turns()
    leaving.cancel()
    await asyncio.wait([leaving])
    outbox.take(100)
    await staying


@given(st.lists(st.integers(1, 9), max_size=30))
def test_every_stream_has_its_turn_before_any_has_a_second(asked: list[int]) -> None:
    ready = Turns()
    for stream_id in asked:
        ready.unblock(stream_id)
    first = [ready.take() for _ in range(len(ready))]
    assert first == list(dict.fromkeys(asked))
    with pytest.raises(KeyError):
        ready.take()
