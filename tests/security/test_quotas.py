"""Token buckets: what is let through is never more than a burst and the rate allow, and never less."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.config.quotas import QuotaConfig
from patinox.errors import LimitExceeded
from patinox.server import quotas as module
from patinox.server.quotas import Buckets, Quotas
from patinox.testing.fakes import ManualClock


def buckets(clock: ManualClock, rate: float = 2, burst: float = 4) -> Buckets:
    return Buckets("quotas.x", rate, burst, clock)


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = ManualClock()
    ours = buckets(clock)
    for _ in range(4):
        ours.take(("a",))
    with pytest.raises(LimitExceeded, match=r"quotas\.x = 2 is reached") as caught:
        ours.take(("a",))
    assert caught.value.retry_after_s == 0.5
    clock.now_s += 0.5
    ours.take(("a",))


def test_one_holder_takes_nothing_from_another() -> None:
    ours = buckets(ManualClock(), burst=1)
    ours.take(("a", "b"))
    ours.take(("a", "c"))
    with pytest.raises(LimitExceeded):
        ours.take(("a", "b"))


def test_a_rate_of_nothing_is_no_limit() -> None:
    ours = buckets(ManualClock(), rate=0)
    for _ in range(1000):
        ours.take(("a",))
    assert len(ours) == 0


def test_what_is_larger_than_a_burst_passes_a_full_bucket_and_is_owed() -> None:
    clock = ManualClock()
    ours = buckets(clock)
    ours.take(("a",), 10)
    with pytest.raises(LimitExceeded) as caught:
        ours.take(("a",), 1)
    assert caught.value.retry_after_s == 3.5


def test_no_more_holders_are_remembered_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOLDERS", 3)
    ours = buckets(ManualClock())
    for number in range(10):
        ours.take((str(number),))
    assert len(ours) == 3


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), max_size=50))
def test_never_more_than_burst_and_rate(steps: list[tuple[float, float]]) -> None:
    clock = ManualClock()
    ours, begun, taken = buckets(clock), clock(), 0.0
    for wait_s, amount in steps:
        clock.now_s += wait_s
        with contextlib.suppress(LimitExceeded):
            ours.take(("a",), amount)
            taken += amount
        assert taken <= 4 + 2 * (clock() - begun) + 1e-6


def test_requests_and_bytes_have_rates_of_their_own() -> None:
    ours = Quotas(QuotaConfig(requests_per_user=1, bytes_per_tenant=1024, burst_s=1), ManualClock())
    ours.request("address", "127.0.0.1")
    ours.request("user", "t", "u")
    with pytest.raises(LimitExceeded, match="requests_per_user"):
        ours.request("user", "t", "u")
    ours.received("t", "u", 1024)
    with pytest.raises(LimitExceeded, match="bytes_per_tenant"):
        ours.received("t", "v", 1)
