"""A hook as an application would write it."""

from __future__ import annotations

from typing import Any

from patinox.transports.access import Caller, Right


def only_poems(caller: Caller, right: Right, subject: Any) -> bool | None:
    """Everybody may read poems; the rest is as it was."""
    return True if right is Right.READ and subject is not None and subject.id.startswith("poem-") else None
