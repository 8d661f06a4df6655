"""Every transport of ours holds what `check_transport` asks."""

from __future__ import annotations

import pytest
from tests.contract.transports import TRANSPORTS

from patinox.testing.transport import TRANSPORT_CHECKS
from patinox.testing.transport.checks import Check


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_transport_holds(transport: str, check: Check) -> None:
    await check(TRANSPORTS[transport])
