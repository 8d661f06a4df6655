"""Back-pressure: when a producer must wait, which readers lag too far, and that nobody looks again too late."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.config import BackpressureConfig, BackpressureStrategy, PaceTo
from patinox.core.backpressure import BackpressureHandler, Lag, Slack

HIGH, HIGH_BYTES = 10, 1000
FAR, BETWEEN, NEAR = Lag(10, 0), Lag(7, 0), Lag(5, 0)
FAR_BYTES, BETWEEN_BYTES, NEAR_BYTES = Lag(1, 1000), Lag(1, 700), Lag(1, 500)


def handler(**settings: Any) -> BackpressureHandler:
    return BackpressureHandler(BackpressureConfig(threshold=HIGH, threshold_bytes=HIGH_BYTES, **settings))


@pytest.mark.parametrize("far", [FAR, FAR_BYTES])
class TestPausing:
    @pytest.mark.parametrize(
        ("pace_to", "others", "pauses"),
        [
            ("fastest", [], True),
            ("fastest", [FAR, FAR_BYTES], True),
            ("fastest", [BETWEEN], False),
            ("fastest", [Lag(0, 0)], False),
            ("slowest", [], True),
            ("slowest", [BETWEEN, Lag(0, 0)], True),
        ],
    )
    def test_at_the_high_mark(self, far: Lag, pace_to: str, others: list[Lag], pauses: bool) -> None:
        pressure = handler(pace_to=pace_to)
        assert pressure.observe([far, *others]) is pauses
        assert (pressure.should_pause(), pressure.pauses) == (pauses, int(pauses))

    @pytest.mark.parametrize("strategy", ["drop", "buffer"])
    def test_only_pause_does(self, far: Lag, strategy: str) -> None:
        assert not handler(strategy=strategy, pace_to="none").observe([far])
        assert not handler(strategy=strategy, pace_to="fastest").observe([far])

    def test_a_stalled_reader_does_not_count(self, far: Lag) -> None:
        stalled = far._replace(counts=False)
        assert not handler(pace_to="slowest").observe([stalled, Lag(0, 0)])
        assert not handler(pace_to="slowest").observe([stalled])
        assert not handler(pace_to="fastest").observe([stalled])

    def test_a_stalled_reader_is_no_fast_one(self, far: Lag) -> None:
        assert handler(pace_to="fastest").observe([far, Lag(3, 3, counts=False)])

    def test_a_pause_is_over_when_nobody_is_left_to_wait_for(self, far: Lag) -> None:
        pressure = handler()
        assert pressure.observe([far])
        assert not pressure.observe([far._replace(counts=False)])
        assert pressure.observe([far])
        assert not pressure.observe([])
        assert pressure.pauses == 2


@pytest.mark.parametrize("pace_to", PaceTo)
def test_without_readers_there_is_no_pause(pace_to: PaceTo) -> None:
    strategy = "buffer" if pace_to is PaceTo.NONE else "pause"
    pressure = handler(pace_to=pace_to, strategy=strategy)
    assert not pressure.observe([])
    assert pressure.slack == Slack(HIGH, HIGH_BYTES)


class TestGoingOn:
    @pytest.mark.parametrize("between", [BETWEEN, BETWEEN_BYTES])
    @pytest.mark.parametrize("pace_to", ["fastest", "slowest"])
    def test_between_the_marks_all_stays_as_it_is(self, pace_to: str, between: Lag) -> None:
        pressure = handler(pace_to=pace_to)
        assert not pressure.observe([between])
        assert pressure.observe([FAR])
        assert pressure.observe([between])
        assert pressure.pauses == 1

    def test_the_fastest_ends_it_for_all(self) -> None:
        pressure = handler(pace_to="fastest")
        assert pressure.observe([FAR, FAR_BYTES])
        assert not pressure.observe([FAR, NEAR_BYTES])

    def test_the_slowest_is_waited_for(self) -> None:
        pressure = handler(pace_to="slowest")
        assert pressure.observe([FAR, Lag(0, 0)])
        assert pressure.observe([BETWEEN, Lag(0, 0)])
        assert pressure.observe([BETWEEN_BYTES, Lag(0, 0)])
        assert not pressure.observe([NEAR, NEAR_BYTES])

    @pytest.mark.parametrize(("low_mark", "chunks"), [(0.01, 0), (0.5, 5), (0.99, 9)])
    def test_the_low_mark_is_a_fraction_of_the_high_one(self, low_mark: float, chunks: int) -> None:
        pressure = handler(low_mark=low_mark)
        assert pressure.relieves(Lag(chunks, 0))
        assert not pressure.relieves(Lag(chunks + 1, 0))


class TestPolicing:
    def test_drop_moves_on_who_is_over_the_high_mark(self) -> None:
        pressure = handler(strategy="drop", pace_to="none")
        assert pressure.polices
        assert [pressure.drops(lag) for lag in (FAR, FAR_BYTES, BETWEEN, BETWEEN_BYTES)] == [True, True, False, False]

    @pytest.mark.parametrize("strategy", ["pause", "buffer"])
    def test_the_others_drop_nothing(self, strategy: str) -> None:
        pressure = handler(strategy=strategy)
        assert not pressure.polices
        assert not pressure.drops(FAR)
        assert not pressure.exceeds(Lag(10**9, 10**12))

    @pytest.mark.parametrize("strategy", BackpressureStrategy)
    def test_the_hard_bound_is_for_all_of_them(self, strategy: BackpressureStrategy) -> None:
        pressure = handler(strategy=strategy, max_lag=20, max_lag_bytes=2000)
        assert pressure.polices
        lags = [Lag(19, 1999), Lag(20, 0), Lag(1, 2000)]
        assert [pressure.exceeds(lag) for lag in lags] == [False, True, True]

    def test_one_hard_bound_is_enough(self) -> None:
        assert not handler(max_lag=20).exceeds(Lag(1, 10**9))
        assert not handler(max_lag_bytes=2000).exceeds(Lag(10**9, 1))


def test_what_is_open_and_what_is_paused_is_seen() -> None:
    pressure = handler()
    assert "open" in repr(pressure)
    pressure.observe([FAR])
    assert "paused 1 times" in repr(pressure)


# ── against a model that looks at every chunk ──

lags = st.builds(Lag, st.integers(0, 14), st.integers(0, 1400), st.booleans())
appends = st.lists(st.integers(0, 400), min_size=1, max_size=30)
configs = st.builds(
    BackpressureConfig,
    threshold=st.integers(1, 12),
    threshold_bytes=st.integers(1, 1200),
    low_mark=st.floats(0.05, 0.95),
    pace_to=st.sampled_from([PaceTo.FASTEST, PaceTo.SLOWEST]),
)


def behind(lag: Lag, sizes: list[int]) -> Lag:
    """The same reader after these appends, none of which it has read."""
    return Lag(lag.chunks + len(sizes), lag.size_bytes + sum(sizes), lag.counts)


@given(config=configs, readers=st.lists(lags, max_size=5), sizes=appends)
def test_within_the_slack_the_decision_does_not_change(
    config: BackpressureConfig, readers: list[Lag], sizes: list[int]
) -> None:
    pressure, naive = BackpressureHandler(config), BackpressureHandler(config)
    if pressure.observe(readers):
        return  # whoever is paused looks at every progress
    for count in range(1, len(sizes) + 1):
        done = sizes[:count]
        if count >= pressure.slack.chunks or sum(done) >= pressure.slack.size_bytes:
            return
        assert not naive.observe([behind(lag, done) for lag in readers])


@given(
    config=configs,
    readers=st.lists(lags, min_size=1, max_size=5),
    steps=st.lists(st.tuples(appends, st.integers(0, 4)), max_size=6),
)
def test_a_pause_is_what_the_marks_say(config: BackpressureConfig, readers: list[Lag], steps: Any) -> None:
    """The two rows of the table, said the long way."""
    pressure = BackpressureHandler(config)
    low, low_bytes = int(config.threshold * config.low_mark), int(config.threshold_bytes * config.low_mark)
    choose = all if config.pace_to is PaceTo.FASTEST else any
    paused = False
    for sizes, catches_up in [([], 9), *steps]:
        readers = [behind(lag, sizes) if k != catches_up else Lag(0, 0) for k, lag in enumerate(readers)]
        counting = [lag for lag in readers if lag.counts]
        over = [lag.chunks >= config.threshold or lag.size_bytes >= config.threshold_bytes for lag in counting]
        above_low = [lag.chunks > low or lag.size_bytes > low_bytes for lag in counting]
        paused = bool(counting) and choose(above_low if paused else over)
        assert pressure.observe(readers) is paused


@given(
    lag=lags,
    sizes=appends,
    strategy=st.sampled_from(BackpressureStrategy),
    bound=st.one_of(st.just(0), st.integers(12, 30)),
    bound_bytes=st.one_of(st.just(0), st.integers(1200, 4000)),
)
def test_within_the_patience_nobody_comes_over_a_mark(
    lag: Lag, sizes: list[int], strategy: BackpressureStrategy, bound: int, bound_bytes: int
) -> None:
    pace_to = PaceTo.FASTEST
    config = BackpressureConfig(
        threshold=12, threshold_bytes=1200, strategy=strategy, pace_to=pace_to, max_lag=bound, max_lag_bytes=bound_bytes
    )
    pressure = BackpressureHandler(config)
    if pressure.drops(lag) or pressure.exceeds(lag):
        return
    patience = pressure.patience(lag)
    for count in range(1, len(sizes) + 1):
        done = sizes[:count]
        if count >= patience.chunks or sum(done) >= patience.size_bytes:
            return
        assert not pressure.drops(behind(lag, done))
        assert not pressure.exceeds(behind(lag, done))


@given(config=configs, readers=st.lists(lags, min_size=1, max_size=5))
def test_under_the_low_mark_is_easier_than_over_the_high_one(config: BackpressureConfig, readers: list[Lag]) -> None:
    """`ease` orders readers as the marks do, so that one witness can stand for all of them."""
    pressure = BackpressureHandler(config)
    in_order = sorted(readers, key=pressure.ease)
    for harder, easier in pairwise(in_order):
        assert (
            pressure.relieves(easier) or not pressure.relieves(harder) or pressure.ease(harder) == pressure.ease(easier)
        )
        over = pressure.ease(easier) <= 0
        assert not over or pressure.ease(harder) <= 0
