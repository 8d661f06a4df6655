"""What a stream is found by: whose it is, and its id there.

A tuple, never a joined string: no id can be chosen so that it names another tenant's stream.
"""

from __future__ import annotations

from typing import NamedTuple


class StreamKey(NamedTuple):
    """One stream of one tenant. The tenant is empty where there is only one."""

    tenant: str
    id: str
