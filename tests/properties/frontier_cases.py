"""Cases by the million for the release frontier: seeded, and each with what must leave known in advance.

    python -m tests.properties.frontier_cases [CASES] [FIRST_SEED]       (make frontier)

A case is a stream of one or two messages with secrets planted in its prose, reasoning, refusals, arguments (escaped in
any way), values and native frames, cut across blocks and into pieces anywhere, calls interleaved. Secrets stand apart
from everything else, so that the text without them is what must leave: of a secret that leaked in part, or that was
held and lost with the text around it, the text would differ. A failing seed is printed; `check(seed)` runs it again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import Error, Json, Text
from patinox.core.codec import encode_data
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Native,
    RunEnd,
    ToolReady,
    Verdict,
)
from patinox.validation.base import Action, Policy
from patinox.validation.frontier import ValidationStage
from patinox.validation.personal import personal
from patinox.validation.secrets import secrets
from patinox.validation.words import Words

SECRETS = (
    "AKIAIOSFODNN7EXAMPLE",
    "sk-" + "aB3dE6gH" * 4,
    "ghp_" + "Ab1" * 12,
    "4111 1111 1111 1111",
    "GB82 WEST 1234 5698 7654 32",
    "+44 20 7946 0958",
    "blabbermouth",
    "jo.doe@mail.example.org",
)
MARK = "[redacted]"
_FILLERS = (
    "The tide ", "s", "sk-", "AK", "AKIA", "4", "41 11", "12, ", "+", "+4", "\n", "é", "😀", "-", "eyJ", "ghp", "blab",
    "GB", "GB82", "a@b", "{", "[", ". ", "u0041", "\u2028",
)  # fmt: skip
_GAP = " ; "
_SHARD = 250
_BLOCKED_EVERY = 4


def _validators(action: Action) -> list[Any]:
    policy = Policy(action=action)
    kinds = ("email", "phone", "card", "iban")
    return [secrets(policy=policy), personal(*kinds, policy=policy), Words(["blabbermouth", "blabber"], policy=policy)]


_REDACT, _BLOCK = _validators(Action.REDACT), _validators(Action.BLOCK)


def without(text: str) -> str:
    """What must leave of a text."""
    for secret in SECRETS:
        text = text.replace(secret, f"GB{MARK}" if secret.startswith("GB") else MARK)  # an IBAN's country stays
    return text


def _prose(chance: random.Random, *, planted: float = 0.4) -> str:
    parts = [chance.choice(SECRETS if chance.random() < planted else _FILLERS) for _ in range(chance.randrange(1, 5))]
    return _GAP + _GAP.join(parts) + _GAP


def _escaped(chance: random.Random, text: str) -> str:
    """The inside of a JSON string, any character of it written in any way that JSON allows."""
    share = chance.choice((0.0, 0.1, 0.5, 1.0))
    out = []
    for character in text:
        if chance.random() < share:
            out.append(json.dumps(character)[1:-1] if ord(character) > 0xFFFF else f"\\u{ord(character):04x}")
        else:
            out.append(json.dumps(character, ensure_ascii=False)[1:-1])
    return "".join(out)


def _cut(chance: random.Random, text: str, pieces: int) -> list[str]:
    places = sorted(chance.randrange(len(text) + 1) for _ in range(pieces - 1))
    return [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]


class _Case:
    """The records of one stream, text uncut, and what must leave of each of its lanes."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.records: list[Any] = []
        self.lanes: dict[tuple[int, str], str] = {}
        self.calls: dict[tuple[int, int], Any] = {}
        self.values: list[Any] = []
        for message in range(chance.choice((1, 1, 2))):
            self._message(message)
        self.records.append(RunEnd())

    def _message(self, message: int) -> None:
        chance = self.chance
        self.records.append(MessageStart(message=message))
        block, said = 0, []
        for kind in ("reasoning", "text"):
            if chance.random() < 0.2:
                continue
            text = _prose(chance)
            self.lanes[message, kind] = without(text)
            said.append(text)
            for part in _cut(chance, text, chance.randrange(1, 4)):
                self._block(message, block, kind, part)
                block += 1
                if kind == "text" and chance.random() < 0.5:
                    block = self._between(message, block)
        self.records.append(MessageEnd(message=message, ext={"x": {"whole": said}}))

    def _block(self, message: int, block: int, kind: Any, text: str) -> None:
        place: dict[str, Any] = {"message": message, "block": block}
        self.records += [BlockStart(**place, of=kind), BlockDelta(**place, text=text, ext={"x": {"again": text}})]
        self.records.append(BlockEnd(**place, value=text))

    def _between(self, message: int, block: int) -> int:
        """What may stand between two blocks of a text: calls that are open together, or a value."""
        if self.chance.random() < 0.3:
            text = _prose(self.chance)
            self.values.append({"a": [without(text)], without(text): 1})
            value = {"a": [text], text: 1}
            self.records.append(Json(value) if self.chance.random() < 0.5 else Native(dialect="x", value=value))
            return block
        count = self.chance.randrange(1, 3)
        blocks = range(block, block + count)
        sources = []
        for number in blocks:
            text = _prose(self.chance)
            self.calls[message, number] = {"a": without(text), "n": 41}
            sources.append(f'{{"a": "{_escaped(self.chance, text)}", "n": 41}}')
            self.records.append(BlockStart(message=message, block=number, of="tool_call", name="f"))
        parts = [_cut(self.chance, source, 3) for source in sources]
        for at in range(3):
            for number, pieces in zip(blocks, parts, strict=True):
                self.records.append(BlockDelta(message=message, block=number, op="json.append", text=pieces[at]))
        for number, source in zip(blocks, sources, strict=True):
            self.records.append(BlockEnd(message=message, block=number))
            self.records.append(ToolReady(message=message, block=number, name="f", arguments=json.loads(source)))
        return block + count


def _pieces(chance: random.Random, records: Sequence[Any]) -> list[Any]:
    """The same records with their text cut: nowhere much, here and there, or at every character."""
    size = chance.choice((1, 3, 8, 20, 200))
    out: list[Any] = []
    for record in records:
        if not isinstance(record, BlockDelta) or not record.text:
            out.append(record)
            continue
        at = 0
        while at < len(record.text):
            stop = at + (1 if size == 1 else chance.randrange(1, size + 1))
            out.append(msgspec.structs.replace(record, text=record.text[at:stop]))
            at = stop
    return out


def _passed(validators: list[Any], records: Sequence[Any]) -> list[Any]:
    stage = ValidationStage(validators)
    out: list[Any] = []
    for record in records:
        out += stage.feed([record])
    return out + stage.close()


def _told(out: Sequence[Any]) -> tuple[dict[Any, str], list[Any]]:
    """The text of each block, and all else in its order."""
    texts: dict[Any, str] = {}
    others: list[Any] = []
    for record in out:
        if isinstance(record, BlockDelta | Text):
            place = (record.message, record.block) if isinstance(record, BlockDelta) else None
            texts[place] = texts.get(place, "") + record.text
        else:
            others.append(record)
    return texts, others


def check(seed: int) -> None:
    """Runs one case. Raises AssertionError with its seed."""
    chance = random.Random(seed)
    case = _Case(chance)
    whole, cut = _passed(_REDACT, case.records), _passed(_REDACT, _pieces(chance, case.records))
    assert _told(cut) == _told(whole), f"seed {seed}: the cuts made a difference"
    _check_left(case, cut, seed)
    if seed % _BLOCKED_EVERY:
        return
    blocked, cut = _passed(_BLOCK, case.records), _passed(_BLOCK, _pieces(chance, case.records))
    assert _told(cut) == _told(blocked), f"seed {seed}: the cuts made a difference to what is blocked"
    assert any(isinstance(record, Error) for record in cut) == any(isinstance(record, Verdict) for record in whole)
    assert not any(isinstance(record, Error) for record in cut[:-1]), f"seed {seed}: something follows an error"
    _check_blocked(case, cut, seed)


def _check_left(case: _Case, out: Sequence[Any], seed: int) -> None:
    texts, others = _told(out)
    kinds = {(start.message, start.block): start.of for start in others if isinstance(start, BlockStart)}
    lanes = dict.fromkeys(case.lanes, "")
    for (message, block), text in texts.items():
        if (message, kinds[message, block]) in lanes:
            lanes[message, kinds[message, block]] += text
    assert lanes == case.lanes, f"seed {seed}: {lanes} left"
    for place, arguments in case.calls.items():
        assert json.loads(texts[place]) == arguments, f"seed {seed}: {texts[place]} left"
    ready = {(each.message, each.block): each.arguments for each in others if isinstance(each, ToolReady)}
    assert ready == case.calls, f"seed {seed}: {ready} was made ready"
    values = [record.value for record in others if isinstance(record, Json | Native)]
    assert values == case.values, f"seed {seed}: {values} left"
    rest = "".join(encode_data(record).decode() for record in others)
    assert not any(secret in rest for secret in SECRETS), f"seed {seed}: a secret left"


def _check_blocked(case: _Case, out: Sequence[Any], seed: int) -> None:
    """What left before the error is a beginning of what may leave at all, without a mark."""
    texts, others = _told(out)
    kinds = {(start.message, start.block): start.of for start in others if isinstance(start, BlockStart)}
    lanes: dict[tuple[int, str], str] = {}
    for (message, block), text in texts.items():
        key = message, str(kinds[message, block])
        lanes[key] = lanes.get(key, "") + text
    for key, text in lanes.items():
        if key in case.lanes:
            clean = case.lanes[key].partition(MARK)[0]
            assert clean.startswith(text) or key[1] != "text", f"seed {seed}: {text!r} left"
    everything = "".join([*texts.values(), *(encode_data(record).decode() for record in others)])
    assert not any(secret in everything for secret in SECRETS), f"seed {seed}: a secret left"


def check_all(first: int) -> int:
    """A shard of seeds; how many there were."""
    for seed in range(first, first + _SHARD):
        check(seed)
    return _SHARD


def main(cases: int, first: int) -> int:
    """Runs them on all processors, and says how far it is. Returns 1 where a case failed."""
    started_s, done = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count()) as pool:
        try:
            for count in pool.imap_unordered(check_all, range(first, first + cases, _SHARD)):
                done += count
                print(f"\r{done:,} of {cases:,} cases, {time.monotonic() - started_s:.0f} s", end="", flush=True)
        except AssertionError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    print("\nall as they must be")
    return 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [1_000_000, 0][len(numbers) :])))
