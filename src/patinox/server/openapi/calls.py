"""Every HTTP call of the server as data. A test holds this table against the routes that there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from patinox.server.openapi.schemas import EVENT_ID, STREAM_ID, STRING, Schema, ref

JSON, SSE, LINES, TEXT = "application/json", "text/event-stream", "application/x-ndjson", "text/plain"
Bodies = Mapping[str, Schema]


class Parameter(NamedTuple):
    """A parameter: where it stands (`query`, `header`), and what it is."""

    place: str
    name: str
    schema: Schema
    meaning: str


class Call(NamedTuple):
    """One call. `answers` are the good ones, by status; `refusals` the statuses that come with an error's body."""

    method: str
    path: str
    meaning: str
    answers: dict[int, Bodies]
    refusals: tuple[int, ...] = ()
    takes: Bodies = MappingProxyType({})
    parameters: tuple[Parameter, ...] = ()
    is_body_required: bool = False


_LIVE: Bodies = {SSE: STRING, LINES: STRING, TEXT: STRING}
_BEGIN = (
    Parameter("header", "Last-Event-ID", EVENT_ID, "goes on exactly after this event"),
    Parameter("query", "after", STRING, "an event id, `start`, `now` or `snapshot`"),
)
_READ = (
    *_BEGIN,
    Parameter("query", "format", STRING, "a dialect, with its own content type, framing and end"),
    Parameter("query", "ids", {"type": "string", "enum": ["0", "1"]}, "event ids in a foreign dialect"),
    Parameter("query", "openers", {"type": "string", "enum": ["true", "false"]}, "what a fresh client needs first"),
)
_PRODUCER = (
    Parameter("query", "final", {"type": "string", "enum": ["true", "false"]}, "finishes the stream as well"),
    Parameter("header", "Producer-Id", STRING, "an idempotent producer"),
    Parameter("header", "Producer-Epoch", {"type": "integer", "minimum": 0}, "its incarnation"),
    Parameter("header", "Producer-Seq", {"type": "integer", "minimum": 0}, "numbers the body's first chunk"),
)
_ASK = (
    Parameter("header", "Patinox-Stream-Id", STREAM_ID, "names the log, or attaches to it"),
    Parameter("header", "Patinox-On-Abandon", STRING, "`keep` or `cancel_after=30s`"),
    Parameter("header", "Patinox-Pipeline", STRING, "what the answer goes through"),
    Parameter("query", "detached", {"type": "string", "enum": ["true", "false"]}, "answers 202 at once"),
)
_ASKED: dict[int, Bodies] = {200: {JSON: {"type": "object"}, SSE: STRING}, 202: {JSON: ref("Stream")}}
_ASK_REFUSALS = (400, 401, 403, 404, 409, 410, 413, 422, 429, 499, 500, 501, 502, 503, 504)
_STREAM = (401, 403, 404, 410, 429, 503)

CALLS: tuple[Call, ...] = (
    Call(
        "POST", "/v1/streams", "Creates a stream.", {201: {JSON: ref("Stream")}},
        (400, 401, 403, 404, 409, 413, 429, 503), {JSON: ref("CreateStream")},
    ),
    Call(
        "GET", "/v1/streams", "Lists the streams that the caller may see.", {200: {JSON: ref("Streams")}},
        (400, 401, 403, 404, 429, 503),
        parameters=(
            Parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "how many at most"),
            Parameter("query", "after", STREAM_ID, "those after this one"),
        ),
    ),
    Call(
        "GET", "/v1/streams/{id}", "Reads a stream, by `Accept` and `?format=`: live, or as JSON the snapshot.",
        {200: {**_LIVE, JSON: ref("Snapshot")}, 204: {}, 303: {}}, (400, 406, *_STREAM), parameters=_READ,
    ),
    Call("DELETE", "/v1/streams/{id}", "Cancels and forgets a stream.", {204: {}}, _STREAM),
    Call(
        "GET", "/v1/streams/{id}/facts", "What the list says of a stream.", {200: {JSON: ref("Stream")}}, _STREAM
    ),
    Call(
        "POST", "/v1/streams/{id}/chunks", "Appends chunks.", {200: {JSON: ref("Appended")}},
        (400, 409, 413, 415, 422, *_STREAM),
        {JSON: ref("Chunks"), LINES: STRING, TEXT: STRING, "application/octet-stream": STRING}, _PRODUCER, True,
    ),
    Call(
        "POST", "/v1/streams/{id}/finish", "Ends a stream.", {200: {JSON: ref("Stream")}},
        (400, 409, 413, 422, *_STREAM), {JSON: ref("Finish")},
    ),
    Call(
        "POST", "/v1/streams/{id}/cancel", "Stops a stream; idempotent.", {200: {JSON: ref("Stream")}},
        (400, 413, *_STREAM), {JSON: ref("Cancel")},
    ),
    Call(
        "GET", "/v1/channels/{name}", "Reads all streams of a channel as one.",
        {200: {SSE: STRING, LINES: STRING, JSON: ref("Channel")}}, (400, 406, *_STREAM),
        parameters=(*_BEGIN, Parameter("query", "format", STRING, "`patinox` or `ndjson`")),
    ),
    Call(
        "GET", "/v1/pipelines", "The pipelines that a stream may be given.", {200: {JSON: ref("Pipelines")}},
        (401, 403, 429),
    ),
    Call(
        "POST", "/v1/tickets", "A ticket of one use, for a link or an `EventSource`.", {201: {JSON: ref("Ticket")}},
        (400, 413, *_STREAM), {JSON: ref("TicketRequest")}, is_body_required=True,
    ),
    Call(
        "POST", "/v1/chat/completions", "OpenAI's Chat Completions, streamed or not.", _ASKED, _ASK_REFUSALS,
        {JSON: ref("ChatRequest")}, _ASK, True,
    ),
    Call(
        "POST", "/v1/responses", "OpenAI's Responses, streamed or not.", _ASKED, _ASK_REFUSALS,
        {JSON: ref("ResponseRequest")}, _ASK, True,
    ),
    Call(
        "GET", "/v1/responses/{id}", "A response as it stands, or what follows an event of it.",
        {200: {JSON: {"type": "object"}, SSE: STRING}, 204: {}}, (400, *_STREAM),
        parameters=(
            Parameter("query", "stream", {"type": "string", "enum": ["true", "false"]}, "as events"),
            Parameter("query", "starting_after", {"type": "integer", "minimum": 0}, "after this `sequence_number`"),
        ),
    ),
    Call("POST", "/v1/responses/{id}/cancel", "Stops a response.", {200: {JSON: {"type": "object"}}}, _STREAM),
    Call(
        "POST", "/v1/messages", "Anthropic's Messages, streamed or not.", _ASKED, _ASK_REFUSALS,
        {JSON: ref("MessageRequest")}, _ASK, True,
    ),
    Call("GET", "/v1/models", "The models of all upstreams.", {200: {JSON: ref("Models")}}, (401, 403, 429)),
    Call("GET", "/healthz", "Whether the process lives.", {200: {JSON: ref("Ready")}}, (429,)),
    Call(
        "GET", "/readyz", "Whether it should be sent work.",
        {200: {JSON: ref("Ready")}, 503: {JSON: ref("Ready")}}, (429,),
    ),
    Call(
        "GET", "/metrics", "Metrics, for Prometheus.",
        {200: {TEXT: STRING, "application/openmetrics-text": STRING}}, (401, 403, 429, 501, 503),
    ),
    Call("GET", "/openapi.json", "This document.", {200: {JSON: {"type": "object"}}}, (429,)),
)  # fmt: skip
