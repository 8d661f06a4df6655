"""Three nodes on one engine while everything is killed and cut: nothing acknowledged lost, no gap, one outcome.

`PATINOX_STRESS_S` is for how long it goes on, `PATINOX_STRESS_SEED` what it is drawn from; `make stress` sets both.
"""

import os
import random
from pathlib import Path

import pytest
from tests.store_stress import Arena

from patinox.testing.servers import NatsServer, ServerProcess, ValkeyServer

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.xdist_group("engines"), pytest.mark.timeout(7200)]

DURATION_S = float(os.environ.get("PATINOX_STRESS_S", "10"))
SEED = int(os.environ.get("PATINOX_STRESS_SEED") or random.randrange(10**6))
MANY = 50


@pytest.mark.parametrize("kind", [ValkeyServer, NatsServer])
async def test_nothing_is_lost_whatever_dies(kind: type[ServerProcess], tmp_path: Path) -> None:
    chunks = max(80, int(DURATION_S * 12))
    with kind(tmp_path / "engine") as engine:
        arena = Arena(engine, tmp_path, SEED, lease_s=1.0, streams=6, chunks=chunks)
        async with arena.opened():
            broken = await arena.run(DURATION_S)
    print(f"seed {SEED}: {arena.checked} invariants, {arena.done}")
    assert broken == [], f"PATINOX_STRESS_SEED={SEED}"
    assert arena.checked >= MANY
