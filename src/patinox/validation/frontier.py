"""The release frontier: what may leave, up to the character.

    record ─► its lane: view ─► scanners ─► groups, limit
         └──► queue ─────────────────────────► leaves, in order, as far as the head's lane has decided

Records wait in one queue, so their order never changes: a delta leaves character by character as its lane decides;
everything else leaves when it is at the head. A lane is a text that its reader sees as one (`places.py`), so a hold
goes on across the ends of blocks. Lanes end with their message, at the latest with the run.

What leaves never depends on how the text was cut: `tests/properties/test_frontier_properties.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from patinox.core.chunks import Binary, End, Error, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    RunEnd,
    ToolReady,
    Verdict,
)
from patinox.errors import ConfigError, InvalidChunk
from patinox.incremental.deadlines import DEADLINE_S, SUPERVISOR, Supervisor, is_quick
from patinox.validation.aggregates import as_json, is_binary, is_sealed, parsed, values, without_ext
from patinox.validation.base import Channel, LaneInfo, Validator
from patinox.validation.lanes import Group, Lane
from patinox.validation.places import CALLS, Places
from patinox.validation.release import Closing, Plain, TextEntry, cut
from patinox.validation.supervised import under_deadlines
from patinox.validation.views import JsonView

_replace = msgspec.structs.replace

MAX_HELD_CHARS: Final = 1_000_000

_BLOCKED_STATUS: Final = 422
_FAILED_STATUS: Final = 500


class ValidationStage:
    """A pipeline's stage that lets nothing out which a validator has not passed. One for each stream.

    `max_held_chars` bounds what may wait; beyond it the stream fails with code `validation_overflow`. Binary data is
    refused unless `allow_binary`, since no validator can read it. Without `across_blocks` a hold ends with its block:
    what is split between two blocks is not found, but one that ends with a number delays nothing either.
    `deadline_s` is for validators that are not known to be quick. `failures` counts validators that were left out.
    """

    supervises = True

    def __init__(
        self,
        validators: Iterable[Validator],
        *,
        max_held_chars: int = MAX_HELD_CHARS,
        allow_binary: bool = False,
        across_blocks: bool = True,
        deadline_s: float = DEADLINE_S,
        supervisor: Supervisor = SUPERVISOR,
    ) -> None:
        self._validators = under_deadlines(validators, deadline_s, supervisor)
        self.is_quick = all(map(is_quick, self._validators))
        names = [validator.name for validator in self._validators]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"two validators are called {', '.join(sorted(twice))}; verdicts could not tell them apart"
            )
        self._max_held_chars, self._allow_binary = max_held_chars, allow_binary
        self._queue: deque[TextEntry | Plain | Closing] = deque()
        self._held_chars = 0
        self._places = Places(
            lambda info, key, view: Lane(info, key, self._validators, view, self._failed), apart=not across_blocks
        )
        self._sent: dict[tuple[int, int | None], list[str]] = {}  # argument text that has left
        self._failure: Error | None = None
        self._over = False
        self.failures: dict[str, int] = {}

    def __repr__(self) -> str:
        names = ", ".join(validator.name for validator in self._validators)
        return f"<ValidationStage {names}; {len(self._queue)} held, {self._held_chars} characters>"

    @property
    def held(self) -> bool:
        """Whether something waits for a decision."""
        return bool(self._queue)

    @property
    def waiting_chars(self) -> int:
        """Characters of text that came in and have neither left nor been withheld."""
        return sum(len(entry.piece.text) - entry.at for entry in self._queue if isinstance(entry, TextEntry))

    def stats(self) -> dict[str, int]:
        """Held records and characters, open lanes, failures of validators."""
        return {
            "held_records": len(self._queue),
            "held_chars": self.waiting_chars,
            "lanes": len(self._places),
            "failures": sum(self.failures.values()),
        }

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        """What `batch`, together with what was held, lets go of. Nothing after an `Error`."""
        out: list[Any] = []
        for record in batch:
            if self._over:
                break
            kind = type(record)
            if kind is BlockDelta:
                self._delta(record, out)
            elif kind is Text:
                self._text(record, self._places.lane(0, None, "text.append"), out)
            else:
                self._other(record, out)
        return out

    def close(self) -> list[Any]:
        """The source is over: everything held is decided, as far as nobody else has to be asked."""
        out: list[Any] = []
        if not self._over:
            self._close_lanes(self._places.all())
            self._release(out)
        return out

    def poll(self) -> list[Any]:
        """What leaves because a scanner was answered meanwhile."""
        out: list[Any] = []
        if not self._over:
            for lane in self._open_lanes():
                lane.poll()
            self._release(out)
        return out

    # --- what comes in

    def _delta(self, record: BlockDelta, out: list[Any]) -> None:
        op = record.op
        if op == "text.append" or op == "json.append":
            self._text(record, self._places.lane(record.message, record.block, op), out)
        elif op == "replace" and isinstance(record.value, str | None):
            self._replacement(record, out)
        elif op == "logprobs.add":
            return  # they repeat the text in pieces that no validator has seen
        elif is_sealed(record, kind := self._places.kind((record.message, record.block))):
            self._enqueue(Plain([without_ext(record)]), out)
        elif is_binary(record, kind) and not self._allow_binary:
            self._refuse_binary(out)
        else:
            self._checked(record, out)

    def _text(self, record: Any, lane: Lane, out: list[Any]) -> None:
        piece = lane.feed(record.text)
        if not self._queue and lane.settled and not lane.groups and piece.owners is None and not lane.dropping:
            lane.passed = lane.fed
            if piece.classes:
                lane.last = piece.text[-1:] + piece.classes[-1:]
            out.append(self._left(record, record.text))
        else:
            self._queue.append(TextEntry(record, lane, piece))
            self._held_chars += len(record.text)
            self._release(out)
        if lane.late or self._failure is not None:
            self._release(out)

    def _replacement(self, record: BlockDelta, out: list[Any]) -> None:
        """A block's text is put anew: a lane of its own begins, and what was held of the old one is decided."""
        op = "json.append" if self._places.kind((record.message, record.block)) in CALLS else "text.append"
        lane = self._places.lane(record.message, record.block, op)
        self._close_lanes([lane])
        text = record.text or record.value or ""
        whole = _replace(record, text=text, value=None)
        if not text:
            self._enqueue(Plain([without_ext(whole)]), out)
            return
        lane = self._places.lane(record.message, record.block, op)
        self._queue.append(TextEntry(whole, lane, lane.feed(text), replaces=True))
        self._held_chars += len(text)
        self._release(out)

    def _other(self, record: Any, out: list[Any]) -> None:
        match record:
            case BlockStart():
                self._places.begin(record)
                self._close_lanes(self._places.thought_out(record))
                self._checked(record, out)
            case MessageStart() | MessageEnd():
                if isinstance(record, MessageEnd):
                    self._close_lanes(self._places.of_message(record.message))
                self._checked(record, out)
            case BlockEnd():
                self._close_lanes(self._places.of_block(record.message, record.block))
                self._block_end(record, out)
            case ToolReady():
                self._close_lanes(self._places.of_block(record.message, record.block))
                self._tool_ready(record, out)
            case RunEnd() | Error() | End():
                self._close_lanes(self._places.all())
                self._checked(record, out)
            case Binary() if not self._allow_binary:
                self._refuse_binary(out)
            case _:
                self._checked(record, out)

    def _block_end(self, record: BlockEnd, out: list[Any]) -> None:
        self._places.block_ends((record.message, record.block))
        if not self._places.had_deltas((record.message, record.block)):
            self._checked(record, out)
            return
        self._enqueue(Plain((), lambda: _replace(record, ext=None, value=None)), out)

    def _tool_ready(self, record: ToolReady, out: list[Any]) -> None:
        place = record.message, record.block
        if not self._places.had_text(place):
            self._checked(record, out)
            return

        def remade() -> ToolReady:
            raw = "".join(self._sent.pop(place, ()))
            fine, arguments = parsed(raw or "{}")
            invalid = None if fine else raw
            return _replace(record, ext=None, name=name, arguments=arguments, invalid_raw=invalid)

        told: list[Any] = []
        name = self._value(record, "name", record.name, told) if record.name else None
        if self._failure is not None:
            self._release(out)
        elif told and type(told[-1]) is Error:
            self._enqueue(Plain(told), out)
        else:
            # What was found in the name was told when its block began.
            self._enqueue(Plain((), remade), out)

    def _checked(self, record: Any, out: list[Any]) -> None:
        """A record whose values are looked at as a whole."""
        record = without_ext(record)
        told: list[Any] = []
        for name, value in values(record):
            clean = self._value(record, name, value, told)
            if self._failure is not None:
                self._release(out)
                return
            if told and type(told[-1]) is Error:
                self._enqueue(Plain(told), out)
                return
            if clean is not value:
                record = _replace(record, **{name: clean})
        self._enqueue(Plain([*told, record]), out)

    def _value(self, record: Any, name: str, value: Any, told: list[Any]) -> Any:
        """The value without what is withheld; verdicts go to `told`, with an `Error` last where it blocks."""
        channel: Channel = "arguments" if name == "arguments" else "value"
        place = (record.message, record.block) if isinstance(record, Event) else (0, None)
        info = LaneInfo(channel, *place, getattr(record, "name", None) or self._places.tool(place))
        lane = Lane(info, None, self._validators, JsonView(), self._failed)
        if not lane.watched:
            return value
        try:
            entry = TextEntry(BlockDelta(message=place[0], block=place[1]), lane, lane.feed(as_json(value)))
        except InvalidChunk as why:
            self._failure = Error(why.code, why.message, retryable=False, status=why.http_status)
            return None
        lane.close()
        if lane.settled and not lane.groups:
            return value
        parts: list[str] = []
        cut(entry, parts.append, lambda group: self._tell(entry, group, told, name))
        if not (told and type(told[-1]) is Error):
            self._let_lane_end(Closing(lane), told, name)
        return parsed("".join(parts))[1]

    def _refuse_binary(self, out: list[Any]) -> None:
        message = "binary data cannot be validated and is refused; allow_binary lets it through unread"
        self._enqueue(Plain([Error("blocked", message, retryable=False, status=_BLOCKED_STATUS)]), out)

    # --- lanes

    def _open_lanes(self) -> list[Lane]:
        """Lanes that are open, or that something in the queue waits for."""
        waiting = {id(entry.lane): entry.lane for entry in self._queue if not isinstance(entry, Plain)}
        return list({**{id(lane): lane for lane in self._places.all()}, **waiting}.values())

    def _close_lanes(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            lane.close()
            self._places.end(lane)
            self._queue.append(Closing(lane))

    def _failed(self, validator: Validator, error: BaseException) -> bool:
        """A validator raised. Whether to go on without it."""
        self.failures[validator.name] = self.failures.get(validator.name, 0) + 1
        what = type(error).__name__
        if validator.policy.on_error == "closed":
            message = f"the validator {validator.name} failed ({what}), and what it has not passed may not leave"
            self._failure = Error("validator_failed", message, retryable=True, status=_FAILED_STATUS)
            return False
        self._validators = [other for other in self._validators if other is not validator]
        told = Plain([Verdict(validator=validator.name, action="open", details={"error": what})])
        self._queue.append(told)
        self._held_chars += told.size
        for lane in self._open_lanes():
            lane.leave_out(validator)
        return True

    # --- what goes out

    def _enqueue(self, entry: Plain, out: list[Any]) -> None:
        self._queue.append(entry)
        self._held_chars += entry.size
        self._release(out)

    def _release(self, out: list[Any]) -> None:
        queue = self._queue
        while queue and not self._over:
            gone = self._let_go(queue[0], out)
            self._over = bool(out) and type(out[-1]) is Error
            if not gone:
                break
            self._held_chars -= queue.popleft().size
        if self._over:
            queue.clear()
        elif self._failure is not None:
            self._end(out, self._failure)
        elif self._held_chars > self._max_held_chars:
            message = f"more than {self._max_held_chars} characters wait for a validator"
            self._end(out, Error("validation_overflow", message, retryable=False, status=_BLOCKED_STATUS))

    def _let_go(self, entry: TextEntry | Plain | Closing, out: list[Any]) -> bool:
        if isinstance(entry, TextEntry):
            return cut(
                entry,
                lambda text: out.append(self._part(entry, text)),
                lambda group: self._tell(entry, group, out, None),
            )
        if isinstance(entry, Closing):
            return self._let_lane_end(entry, out, None)
        out += (entry.make(),) if entry.make else entry.out
        return True

    def _let_lane_end(self, entry: Closing, out: list[Any], field: str | None) -> bool:
        lane = entry.lane
        if not lane.settled or lane.asking:
            return False
        for group in lane.groups:
            if not group.announced and self._tell(entry, group, out, field):
                break
        return True

    def _part(self, entry: TextEntry, text: str) -> Any:
        """A delta with the part of its text that leaves now."""
        record = entry.record
        if isinstance(record, Text):
            return record if text == record.text else Text(text)
        op = record.op if entry.replaces else ("text.append" if record.op == "replace" else record.op)
        entry.replaces = False
        if text != record.text:
            record = _replace(record, text=text, op=op, more=False)
        return self._left(record, text)

    def _left(self, record: Any, text: str) -> Any:
        if type(record) is not BlockDelta:
            return record
        if record.op == "json.append":
            self._sent.setdefault((record.message, record.block), []).append(text)
        if record.ext is None and record.value is None and not record.data:
            return record
        return _replace(record, ext=None, value=None, data=b"")

    def _tell(self, entry: TextEntry | Closing, group: Group, out: list[Any], field: str | None) -> bool:
        """Emits a group's verdicts; whether the stream ends with it. `field` is a value's."""
        record = entry.record if isinstance(entry, TextEntry) else None
        return self._announce(entry.lane, record, group, out, field)

    def _announce(self, lane: Lane, record: Any, group: Group, out: list[Any], field: str | None) -> bool:
        group.announced = True
        block = getattr(record, "block", lane.info.block)
        start = lane.starts.get(block, 0)
        out += [found.verdict(lane.info.message, block, start, field) for found in group.found]
        if blocker := group.blocker:
            message = f"the validator {blocker.validator.name} stopped this answer ({blocker.finding.rule})"
            out.append(Error("blocked", message, retryable=False, status=_BLOCKED_STATUS))
            return True
        return False

    def _end(self, out: list[Any], error: Error) -> None:
        out.append(error)
        self._over = True
