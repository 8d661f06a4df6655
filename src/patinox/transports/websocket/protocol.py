"""`patinox.v1` without I/O: what a client may ask, as structs, and the answers, as JSON.

    client   subscribe {stream | channel, after?, format?, openers?}     unsubscribe {stream | channel}
             create {id?, channel?, metadata?, ttl?, retain?, on_abandon?, pipeline?}
             write {stream, chunk, seq?, producer?}    finish {stream, outcome?, error?}    cancel {stream, reason?}
             ack {stream | channel, id}                ping {}
    server   subscribed, chunk, snapshot, gap, end, ok, error, goaway (`wire.py` makes those that are records)

Every op is one JSON text message with `op`, and may have a `ref`, a short string or a number, that comes back in its
answer. What cannot be read is answered with an `error` that has the `ref` where one could be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.producers import Producer
from patinox.errors import InputError, PatinoxError

SUBPROTOCOL = "patinox.v1"

Ref = str | int | None

_MAX_REF = 128
_json = msgspec.json.Encoder().encode


class Op(msgspec.Struct, frozen=True, tag_field="op", forbid_unknown_fields=True, kw_only=True):
    """What every op may carry."""

    ref: Ref = None


class Target(Op, frozen=True, kw_only=True):
    """An op on a stream or on a channel: exactly one of the two is named."""

    stream: str | None = None
    channel: str | None = None

    def __post_init__(self) -> None:
        if (self.stream is None) == (self.channel is None):
            raise ValueError("name either a stream or a channel")

    @property
    def key(self) -> tuple[str, str]:
        """What it names: `("stream", id)` or `("channel", name)`."""
        return ("stream", self.stream) if self.stream is not None else ("channel", self.channel or "")


class Subscribe(Target, frozen=True, kw_only=True, tag="subscribe"):
    """Reads a stream or a channel from `after` on.

    `openers` says whether a foreign dialect begins with what a fresh client of it must see; by default it does unless
    `after` is an event id.
    """

    after: str | None = None
    format: str | None = None
    openers: bool | None = None


class Unsubscribe(Target, frozen=True, kw_only=True, tag="unsubscribe"):
    """Reads it no more."""


class Create(Op, frozen=True, kw_only=True, tag="create"):
    """Makes a stream; what the fields mean is said in `POST /v1/streams`."""

    id: str | None = None
    channel: str | None = None
    metadata: dict[str, Any] | None = None
    ttl: str | float | None = None
    retain: str | None = None
    on_abandon: str | None = None
    pipeline: str | None = None


class Write(Op, frozen=True, kw_only=True, tag="write"):
    """Appends one chunk. With a `producer`, or a `seq` alone, one that was appended before is recognised."""

    stream: str
    chunk: Any
    seq: int | None = None
    producer: Producer | None = None

    def __post_init__(self) -> None:
        numbered = self.numbered
        if numbered is not None and (numbered.seq < 0 or numbered.epoch < 0 or not 0 < len(numbered.id) <= 128):
            raise ValueError("a producer has an id of 1 to 128 characters, and epoch and seq count from 0")

    @property
    def numbered(self) -> Producer | None:
        """Who writes. A `seq` alone numbers the chunks of the stream's one writer, over all its connections."""
        if self.producer is None:
            return None if self.seq is None else Producer("-", 0, self.seq)
        return self.producer if self.seq is None else msgspec.structs.replace(self.producer, seq=self.seq)


class Finish(Op, frozen=True, kw_only=True, tag="finish"):
    """Ends a stream."""

    stream: str
    outcome: str | None = None
    error: Any = None


class Cancel(Op, frozen=True, kw_only=True, tag="cancel"):
    """Stops a stream."""

    stream: str
    reason: str | None = None


class Ack(Target, frozen=True, kw_only=True, tag="ack"):
    """Says how far the client has come."""

    id: str


class Ping(Op, frozen=True, kw_only=True, tag="ping"):
    """Asks for an `ok`."""


AnyOp = Subscribe | Unsubscribe | Create | Write | Finish | Cancel | Ack | Ping

OPS = ("subscribe", "unsubscribe", "create", "write", "finish", "cancel", "ack", "ping")

_decoder: msgspec.json.Decoder[AnyOp] = msgspec.json.Decoder(AnyOp)


class Malformed(InputError):
    """A message that is no op. `ref` is the one it carried, where that could be read."""

    def __init__(self, message: str, ref: Ref = None) -> None:
        super().__init__(message)
        self.ref = ref


def parse(text: str) -> AnyOp:
    """Reads one message. Raises `Malformed` for whatever is wrong with it."""
    try:
        op = _decoder.decode(text)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and so is a lone surrogate
        ref, name = _salvage(text)
        if name is not None and name not in OPS:
            raise Malformed(f"there is no op {name[:40]!r}; there are {', '.join(OPS)}", ref) from error
        raise Malformed(f"this is no op: {error}"[:500], ref) from error
    if isinstance(op.ref, str) and len(op.ref) > _MAX_REF:
        raise Malformed(f"a ref has at most {_MAX_REF} characters")
    return op


def _salvage(text: str) -> tuple[Ref, str | None]:
    """The ref and the op's name in a message that cannot be read, as far as there are any."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(value, dict):
        return None, None
    ref, name = value.get("ref"), value.get("op")
    is_ref = (isinstance(ref, str) and len(ref) <= _MAX_REF) or (isinstance(ref, int) and not isinstance(ref, bool))
    return ref if is_ref else None, name if isinstance(name, str) else None


# ── answers ──


def answer(op: str, ref: Ref, facts: Mapping[str, Any]) -> bytes:
    """`{"op": …, "ref": …, …}`, without a ref where none was given."""
    return _json({"op": op, **({} if ref is None else {"ref": ref}), **facts})


def ok(ref: Ref, **facts: Any) -> bytes:
    """The answer to an op that was carried out."""
    return answer("ok", ref, facts)


def error(failure: PatinoxError, ref: Ref = None, **facts: Any) -> bytes:
    """The answer to an op that was not: `{"op": "error", "code", "message", "ref", …}`."""
    return answer("error", ref, {**facts, **failure.as_dict()})


def subscribed(target: tuple[str, str], ref: Ref, *, position: str, outcome: str, **facts: Any) -> bytes:
    """The answer to `subscribe`: where the reader stands, and what it is told of that (docs/topics/resume)."""
    kind, name = target
    return answer("subscribed", ref, {kind: name, "position": position, "outcome": outcome, **facts})


def goaway(after_s: float, positions: Sequence[Mapping[str, str]] = ()) -> bytes:
    """The server is about to close: come back after `after_s` seconds. `positions` are where each reading stands."""
    told = {"positions": positions} if positions else {}
    return answer("goaway", None, {"after_s": round(after_s, 3), **told})
