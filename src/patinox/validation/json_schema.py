"""Tool arguments and JSON answers against a JSON Schema, by `jsonschema_rs`.

Whether a document fits is known at its end, so all of it waits until then. Verdicts name the place in the schema that
it does not fit; what the document says there is not told.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import jsonschema_rs
import msgspec

from patinox.errors import ConfigError
from patinox.validation.base import Action, Finding, LaneInfo, Policy

_DEFAULT = Policy(action=Action.BLOCK)
_ALL: Final = sys.maxsize


class JsonSchema:
    """`tools` has a schema for the arguments of each tool named, `answer` one for the text of each message.

    Half a document is none, so the action is `block` or `pass`. Schemas are not fetched: a `$ref` must lie within.
    Raises `ConfigError` for what is no schema.
    """

    is_quick = True

    def __init__(
        self,
        *,
        tools: Mapping[str, Any] | None = None,
        answer: Any = None,
        max_chars: int = 1_000_000,
        name: str = "json-schema",
        policy: Policy | None = None,
    ) -> None:
        self.name = name
        self.policy = policy or _DEFAULT
        if self.policy.action not in (Action.BLOCK, Action.PASS):
            raise ConfigError(f"a JSON Schema can block or pass, not {self.policy.action.value}")
        self._max_chars = max_chars
        self._tools = {tool: _compiled(schema, f"tool {tool}") for tool, schema in (tools or {}).items()}
        self._answer = None if answer is None else _compiled(answer, "answer")

    def scanner(self, lane: LaneInfo) -> SchemaScanner | None:
        """A scanner for text and for the arguments of tools that have a schema."""
        schema = None
        if lane.channel == "arguments" and lane.tool is not None:
            schema = self._tools.get(lane.tool)
        elif lane.channel == "text":
            schema = self._answer
        return None if schema is None else SchemaScanner(schema, self._max_chars, lane.channel == "arguments")


class SchemaScanner:
    """Collects the document and looks at it once."""

    __slots__ = ("_chars", "_empty_is_object", "_max_chars", "_parts", "_schema", "frontier")
    reads_source = True

    def __init__(self, schema: Any, max_chars: int, empty_is_object: bool) -> None:
        self._schema, self._max_chars, self._empty_is_object = schema, max_chars, empty_is_object
        self._parts: list[str] = []
        self._chars = 0
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        if self.frontier:
            return ()
        self._chars += len(text)
        if self._chars > self._max_chars:
            return self._decide(f"more than {self._max_chars} characters")
        self._parts.append(text)
        return ()

    def close(self) -> Sequence[Finding]:
        """See `Scanner`."""
        if self.frontier:
            return ()
        text = "".join(self._parts)
        if self._empty_is_object and not text.strip():
            text = "{}"
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self._decide("not JSON")
        error = next(iter(self._schema.iter_errors(document)), None)
        return self._decide(None if error is None else "/".join(map(str, ("", *error.schema_path))))

    def _decide(self, rule: str | None) -> Sequence[Finding]:
        self._parts.clear()
        self.frontier = _ALL
        return () if rule is None else (Finding(0, None, rule),)


def _compiled(schema: Any, what: str) -> Any:
    try:
        return jsonschema_rs.validator_for(schema, retriever=_no_fetching)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the schema of {what} is not a JSON Schema: {error}") from error


def _no_fetching(uri: str) -> NoReturn:
    raise ValueError(f"schemas are not fetched, and {uri} is elsewhere")
