"""What a manager counts of its deliveries: every drop and every gap has a name and a number."""

from __future__ import annotations

from collections import Counter
from typing import Any


class DeliveryCounters:
    """Counts since the manager was made."""

    def __init__(self) -> None:
        self.chunks = 0
        self.chunk_bytes = 0
        self.attaches: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<DeliveryCounters {self.as_dict()}>"

    def as_dict(self) -> dict[str, Any]:
        """Chunks and bytes appended, `attaches` by outcome, `dropped` (readers, appends) and `gaps` by reason."""
        return {
            "chunks": self.chunks,
            "chunk_bytes": self.chunk_bytes,
            "attaches": dict(self.attaches),
            "dropped": dict(self.dropped),
            "gaps": dict(self.gaps),
        }
