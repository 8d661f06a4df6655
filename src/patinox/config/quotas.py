"""`[quotas]`: how much one address, user or tenant may ask for. Off unless configured."""

from __future__ import annotations

from typing import Annotated, ClassVar

from patinox.config.quantities import Count, Duration, Size
from patinox.config.schema import Settings

_MANY = 10_000_000


class QuotaConfig(Settings, frozen=True, kw_only=True):
    """Rates are refilled all the time; what is over is answered 429 with `Retry-After`."""

    table: ClassVar[str] = "quotas"

    requests_per_address: Annotated[
        int, Count("Requests a second of one network address.", least=1, most=_MANY, zero="no limit")
    ] = 0
    requests_per_user: Annotated[
        int, Count("Requests a second of one user, and messages on WebSockets.", least=1, most=_MANY, zero="no limit")
    ] = 0
    requests_per_tenant: Annotated[
        int, Count("The same of all users of one tenant.", least=1, most=_MANY, zero="no limit")
    ] = 0
    bytes_per_user: Annotated[
        int, Size("Bytes a second that one user writes to streams.", least=1024, most=1 << 40, zero="no limit")
    ] = 0
    bytes_per_tenant: Annotated[
        int, Size("The same of all users of one tenant.", least=1024, most=1 << 40, zero="no limit")
    ] = 0
    burst_s: Annotated[
        float, Duration("How many seconds' worth may be asked for at once, after a time of quiet.", least=1, most=3600)
    ] = 10.0
