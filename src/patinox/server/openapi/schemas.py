"""The objects that go over the wire, as JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any

from patinox.core.chunks import Outcome

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
STREAM_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$"}
EVENT_ID: Schema = {"type": "string", "description": "`<epoch>-<sequence>`", "examples": ["6ySdizoOXrH9-12"]}
_DURATION: Schema = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        {"type": "string", "examples": ["24h"]},
    ]
}
_OUTCOME: Schema = {"type": "string", "enum": [outcome.value for outcome in Outcome]}
_STATE: Schema = {"type": "string", "enum": ["open", *(outcome.value for outcome in Outcome)]}


def ref(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), *, closed: bool = False, **properties: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = list(required)
    if closed:
        made["additionalProperties"] = False
    return made


SCHEMAS: dict[str, Schema] = {
    "ErrorBody": _object(
        ("error",),
        error=_object(("code", "message"), code=STRING, message=STRING),
    ),
    "CreateStream": _object(
        closed=True,
        id=STREAM_ID,
        metadata={"type": "object"},
        ttl=_DURATION,
        retain={"type": "string", "enum": ["full", "window"]},
        on_abandon={"type": "string", "examples": ["keep", "cancel_after=30s"]},
        channel=STREAM_ID,
        pipeline=STRING,
    ),
    "Stream": _object(
        ("id", "epoch", "state", "position"),
        id=STREAM_ID,
        epoch=STRING,
        state=_STATE,
        position=EVENT_ID,
        created={"type": "number", "description": "seconds since 1970"},
        metadata={"type": "object"},
        readers={"type": "integer", "minimum": 0},
    ),
    "Snapshot": _object(
        ("id", "epoch", "state", "position", "content", "blocks"),
        id=STREAM_ID,
        epoch=STRING,
        state=_STATE,
        position=EVENT_ID,
        content=STRING,
        blocks={"type": "array"},
        usage={"type": ["object", "null"]},
        error={"type": ["object", "null"]},
    ),
    "Streams": _object(("streams",), streams={"type": "array", "items": ref("Stream")}, next=STRING),
    "Chunk": {
        "anyOf": [
            {"type": "string", "description": "one Text"},
            _object(("event", "data"), event=STRING, data={}, id=EVENT_ID),
        ]
    },
    "Chunks": {"anyOf": [ref("Chunk"), {"type": "array", "items": ref("Chunk")}]},
    "Appended": _object(
        ("next", "accepted", "position"),
        next={"type": "integer", "minimum": 1},
        accepted={"type": "integer", "minimum": 0},
        position=EVENT_ID,
    ),
    "Finish": _object(
        closed=True,
        outcome=_OUTCOME,
        error={"anyOf": [STRING, _object(("code", "message"), code=STRING, message=STRING)]},
    ),
    "Cancel": _object(closed=True, reason=STRING),
    "Channel": _object(("channel", "streams"), channel=STRING, streams={"type": "array", "items": ref("Stream")}),
    "Pipelines": _object(("pipelines",), pipelines={"type": "array", "items": {"type": "object"}}, default=STRING),
    "Models": _object(
        ("object", "data"), object={"const": "list"}, data={"type": "array"}, unavailable={"type": "object"}
    ),
    "ChatRequest": _object(
        ("messages",),
        model=STRING,
        messages={"type": "array", "items": {"type": "object"}, "minItems": 1},
        stream={"type": "boolean"},
    ),
    "ResponseRequest": _object(
        ("input",),
        model=STRING,
        input={"anyOf": [STRING, {"type": "array", "items": {"type": "object"}}]},
        stream={"type": "boolean"},
        background={"type": "boolean"},
    ),
    "MessageRequest": _object(
        ("messages", "max_tokens"),
        model=STRING,
        messages={"type": "array", "items": {"type": "object"}, "minItems": 1},
        max_tokens={"type": "integer", "minimum": 1},
        stream={"type": "boolean"},
    ),
    "TicketRequest": {
        "oneOf": [
            _object(("stream",), closed=True, stream=STREAM_ID),
            _object(("channel",), closed=True, channel=STREAM_ID),
        ]
    },
    "Ticket": _object(("ticket", "expires_in", "url"), ticket=STRING, expires_in={"type": "number"}, url=STRING),
    "Ready": _object(("status",), status={"type": "string", "enum": ["ready", "not ready", "ok"]}),
}
