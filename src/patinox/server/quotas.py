"""Quotas: how much one address, one user and one tenant may ask of the server in a second.

A token bucket for each holds up to a burst, and fills at a rate; what finds it empty is refused with the time at which
it is worth trying again. There are as many buckets as there were holders lately, and never more than a bound: a full
bucket is one that nobody needs to remember.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from patinox.config.quotas import QuotaConfig
from patinox.errors import LimitExceeded

MAX_HOLDERS = 50_000

Holder = tuple[str, ...]


class Bucket:
    """`level` tokens at the time `at_s`."""

    __slots__ = ("at_s", "level")

    def __init__(self, level: float, at_s: float) -> None:
        self.level = level
        self.at_s = at_s

    def take(self, amount: float, now_s: float, *, rate: float, burst: float) -> float:
        """Takes `amount`, and returns 0; or takes nothing, and returns after how many seconds it would be there.

        What is more than a burst may be taken from a full bucket, which then owes the rest.
        """
        self.level = min(burst, self.level + (now_s - self.at_s) * rate)
        self.at_s = now_s
        if self.level >= min(amount, burst):
            self.level -= amount
            return 0.0
        return (min(amount, burst) - self.level) / rate


class Buckets:
    """One rate for many holders. A rate of 0 is no limit."""

    def __init__(self, name: str, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._name = name
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[Holder, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, holder: Holder, amount: float = 1.0) -> None:
        """Takes `amount` for a holder. Raises `LimitExceeded` with the time after which it would be there."""
        if not self._rate:
            return
        now_s = self._clock()
        bucket = self._buckets.get(holder)
        if bucket is None:
            bucket = self._buckets[holder] = Bucket(self._burst, now_s)
            if len(self._buckets) > MAX_HOLDERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(holder)
        wait_s = bucket.take(amount, now_s, rate=self._rate, burst=self._burst)
        if wait_s:
            raise LimitExceeded(f"{self._name} = {self._rate:g} is reached; try again later", retry_after_s=wait_s)


class Quotas:
    """The rates of `[quotas]`. `clock` gives seconds, of a clock that never goes back."""

    def __init__(self, config: QuotaConfig, clock: Callable[[], float]) -> None:
        self._requests = {
            kind: Buckets(f"quotas.requests_per_{kind}", rate, rate * config.burst_s, clock)
            for kind, rate in (
                ("address", config.requests_per_address), ("user", config.requests_per_user),
                ("tenant", config.requests_per_tenant),
            )
        }  # fmt: skip
        self._bytes = {
            kind: Buckets(f"quotas.bytes_per_{kind}", rate, rate * config.burst_s, clock)
            for kind, rate in (("user", config.bytes_per_user), ("tenant", config.bytes_per_tenant))
        }

    def request(self, kind: str, *holder: str) -> None:
        """One request of an `address`, a `user` (tenant and subject) or a `tenant`. Raises `LimitExceeded`."""
        self._requests[kind].take(holder)

    def received(self, tenant: str, subject: str, size_bytes: int) -> None:
        """What a caller has written. Raises `LimitExceeded`."""
        self._bytes["user"].take((tenant, subject), size_bytes)
        self._bytes["tenant"].take((tenant,), size_bytes)
