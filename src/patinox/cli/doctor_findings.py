"""What `patinox doctor` has measured, and what that means: a pure function, with a sentence for each finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import Literal

import msgspec

ADDED_S = 0.1
"""What a path may add to a chunk before a reader would notice."""

_TOGETHER = 0.25  # two chunks came together if they arrived within this part of the time between their sending
_LUMPY = 1 / 3  # one such pair in many is the network; more than this part is a buffer

Verdict = Literal["ok", "change", "skipped"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one reader saw. Times are seconds on one clock; chunks are numbered from 0, in the order they were sent.

    `headers` has lower-case names. `numbers` are the chunks as they came, doubled ones twice. `outcome` is that of its
    last attach, `broke` why it could not read to the end ("" if it did).
    """

    headers: Mapping[str, str] = {}
    numbers: tuple[int, ...] = ()
    arrived_s: Mapping[int, float] = {}
    outcome: str = ""
    broke: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One examination. `plain` asked for no compression, `packed` for gzip, `resumed` was cut and came back.

    `heartbeat_s` is how long the first heartbeat took; None if none came within `quiet_s`, which is 0 if it was not
    waited for. `undeleted` says why the stream could not be deleted.
    """

    ready: str
    answered_by: str
    http_version: tuple[int, int]
    sent_s: tuple[float, ...]
    answered_s: tuple[float, ...]
    plain: Reading
    packed: Reading
    resumed: Reading
    quiet_s: float = 0.0
    heartbeat_s: float | None = None
    undeleted: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: what was seen, and what to change where something is to be changed."""

    what: str
    verdict: Verdict
    seen: str
    change: str = ""


def judge(measured: Measured) -> list[Finding]:
    """Every finding, in the order they are told."""
    return [
        _ready(measured),
        _version(measured),
        _first_chunk(measured),
        _buffering(measured),
        _heartbeat(measured),
        _compression(measured),
        _resume(measured),
        *_headers(measured),
        *_deletion(measured),
    ]


def _ready(measured: Measured) -> Finding:
    by = f", answered by {measured.answered_by}" if measured.answered_by else ""
    if not measured.ready:
        return Finding("reach", "ok", f"the server is reached and ready{by}")
    return Finding(
        "reach", "change", f"/readyz: {measured.ready}{by}", "let the server become ready, or pass /readyz on to it"
    )


def _version(measured: Measured) -> Finding:
    version = ".".join(map(str, measured.http_version))
    if measured.http_version >= (1, 1):
        return Finding("http", "ok", f"HTTP/{version} from what is nearest")
    return Finding(
        "http", "change", f"HTTP/{version}, in which a body that was cut looks like a whole one",
        "let the proxy speak HTTP/1.1 on both sides (nginx: `proxy_http_version 1.1`)",
    )  # fmt: skip


def _first_chunk(measured: Measured) -> Finding:
    added = _added_s(measured)
    # HAProxy lets the first chunk go and holds each later one for 200 ms: the rule is judged too.
    if 0 not in added:
        return Finding("first chunk", "change", "it did not arrive", _why_missing(measured.plain))
    trip = median(map(float.__sub__, measured.answered_s, measured.sent_s))
    as_a_rule = median(added.values())
    seen = (
        f"{_ms(added[0])} after its writer had the answer; {_ms(as_a_rule)} for chunks as a rule;"
        f" a call takes {_ms(trip)}"
    )
    if max(added[0], as_a_rule) <= ADDED_S:
        return Finding("first chunk", "ok", seen)
    if is_lumpy(measured, measured.plain):
        return Finding("first chunk", "change", seen, "see buffering")
    return Finding(
        "first chunk", "change", seen,
        "look for what holds small writes back (HAProxy: `option http-no-delay`; nginx: `tcp_nodelay on`; a scanner)",
    )  # fmt: skip


def _buffering(measured: Measured) -> Finding:
    reading, count = measured.plain, len(measured.sent_s)
    missing = count - len(reading.arrived_s)
    if missing:
        return Finding("buffering", "change", f"{missing} of {count} chunks did not arrive", _why_missing(reading))
    if not is_lumpy(measured, reading):
        return Finding("buffering", "ok", f"{count} chunks came one by one, as they were sent")
    lumps = _lumps(measured, reading)
    return Finding(
        "buffering", "change", f"{lumps} of {count} chunks came together with the one before",
        "let nothing collect the answer (nginx: `proxy_buffering off`, no `proxy_ignore_headers X-Accel-Buffering`; "
        "Apache: `flushpackets=on`; a CDN: no caching of text/event-stream)",
    )  # fmt: skip


def _heartbeat(measured: Measured) -> Finding:
    if not measured.quiet_s:
        return Finding("heartbeat", "skipped", "not waited for: `--quiet 35` does, for the default interval of 30 s")
    if measured.heartbeat_s is not None:
        return Finding("heartbeat", "ok", f"one came after {measured.heartbeat_s:.1f} s of silence")
    if measured.plain.broke:
        return Finding(
            "heartbeat", "change", f"the connection did not outlive the silence: {measured.plain.broke}",
            "allow silence for longer than streaming.sse.heartbeat_interval (nginx: `proxy_read_timeout 120s`; "
            "HAProxy: `timeout server`, `timeout client`)",
        )  # fmt: skip
    return Finding(
        "heartbeat", "change", f"none came in {measured.quiet_s:g} s",
        "wait longer than streaming.sse.heartbeat_interval with --quiet, or set that shorter",
    )  # fmt: skip


def _compression(measured: Measured) -> Finding:
    forced = measured.plain.headers.get("content-encoding", "identity")
    if forced != "identity":
        return Finding(
            "compression", "change", f"{forced}, which the reader had not asked for",
            "let the proxy honour Accept-Encoding, and leave text/event-stream uncompressed",
        )  # fmt: skip
    coding = measured.packed.headers.get("content-encoding", "identity")
    if coding == "identity":
        return Finding("compression", "ok", "none, also where a reader allows it")
    arrived = len(measured.packed.arrived_s) == len(measured.sent_s)
    if arrived and not is_lumpy(measured, measured.packed):
        return Finding("compression", "ok", f"{coding}, flushed with every chunk")
    return Finding(
        "compression", "change", f"{coding}, and chunks are held back in it",
        "leave text/event-stream out of compression (nginx: out of `gzip_types`; Caddy: out of `encode`)",
    )  # fmt: skip


def _resume(measured: Measured) -> Finding:
    reading, whole = measured.resumed, tuple(range(len(measured.sent_s)))
    if reading.numbers == whole:
        return Finding(
            "resume", "ok", "cut in the middle and back with Last-Event-ID: nothing missing, nothing doubled"
        )
    missing = len(set(whole) - set(reading.numbers))
    doubled = len(reading.numbers) - len(set(reading.numbers))
    seen = f"after a cut in the middle, {missing} chunks are missing and {doubled} doubled"
    if reading.outcome == "start":
        return Finding(
            "resume", "change", seen, "pass the request header Last-Event-ID on: something on the way drops it"
        )
    why = reading.broke or f"the server answered `{reading.outcome or 'nothing'}`"
    return Finding("resume", "change", seen, f"pass reconnections on to a server with the same store ({why})")


def _headers(measured: Measured) -> Iterator[Finding]:
    if not (headers := measured.plain.headers):
        return  # no answer ever began, which has been said
    accel = "" if "x-accel-buffering" in headers else "; X-Accel-Buffering was taken on the way, as nginx does"
    if "no-transform" in headers.get("cache-control", "").lower():
        yield Finding("headers", "ok", f"Cache-Control: no-transform came through{accel}")
    else:
        yield Finding(
            "headers", "change", f"Cache-Control: no-transform did not come through{accel}",
            "let the proxy keep Cache-Control as it is: without it others may compress or collect the stream",
        )  # fmt: skip


def _deletion(measured: Measured) -> Iterator[Finding]:
    if measured.undeleted:
        yield Finding(
            "delete", "change", f"the examined stream was not deleted: {measured.undeleted}",
            "let the proxy pass the method DELETE, and the token have the right to it",
        )  # fmt: skip


def is_lumpy(measured: Measured, reading: Reading) -> bool:
    """Whether chunks were collected on the way: slow is not lumpy, several at once is."""
    pairs = len(measured.sent_s) - 1
    return pairs > 0 and _lumps(measured, reading) > pairs * _LUMPY


def _lumps(measured: Measured, reading: Reading) -> int:
    came = [(measured.sent_s[n], reading.arrived_s[n]) for n in sorted(reading.arrived_s)]
    return sum(b[1] - a[1] < (b[0] - a[0]) * _TOGETHER for a, b in pairwise(came))


def _added_s(measured: Measured) -> dict[int, float]:
    return {n: max(0.0, at_s - measured.answered_s[n]) for n, at_s in measured.plain.arrived_s.items()}


def _why_missing(reading: Reading) -> str:
    why = reading.broke or "nothing more came"
    return f"let the proxy pass the stream on while it lasts ({why})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
