"""The payload that every contestant sends: a number, the time of publication, filler up to the frame's size."""

from __future__ import annotations

import time

FRAME_BYTES = 150


def payload(sequence: int, overhead_bytes: int) -> str:
    """Return message `sequence` (from 1), sized so that with `overhead_bytes` of framing it makes 150 bytes.

    The marker `@SSSSSSSS:TTTTTTTTTTTTTTTTTTTT;` carries CLOCK_MONOTONIC in nanoseconds; the load client, on
    the same machine, reads the delay from it.
    """
    marker = f"@{sequence:08d}:{time.monotonic_ns():020d};"
    return marker + "x" * (FRAME_BYTES - overhead_bytes - len(marker))
