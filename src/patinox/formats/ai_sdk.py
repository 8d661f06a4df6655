"""The Vercel AI SDK's UI message stream, protocol v1: server-sent events without names, ended by `[DONE]`."""

from __future__ import annotations

from collections.abc import Mapping

from patinox.formats.ai_sdk_frames import AISDKState
from patinox.formats.ai_sdk_reader import AISDKReader
from patinox.formats.ai_sdk_writer import AISDKWriter
from patinox.formats.base import Format

__all__ = ["AI_SDK", "LOSSES", "AISDKReader", "AISDKWriter"]

AI_SDK: Format[AISDKState] = Format(
    name="ai-sdk",
    title="Vercel AI SDK, UI message stream v1",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AISDKReader,
    writer=AISDKWriter(),
    headers=(("x-vercel-ai-ui-message-stream", "v1"),),
)

LOSSES: Mapping[str, str] = {
    "block.delta:json.patch": "a call's input only grows",
    "block.delta:logprobs.add": "the protocol has no probabilities",
    "block.delta:replace": "text that was sent cannot be replaced",
    "block.start:custom": "a custom tool's call becomes an ordinary one, its text the whole input",
    "choice": "one message is all there is: only the first alternative is written",
    "created_s": "the protocol has no times",
    "message.end:details": "only the finish reason of the last message is written, in the protocol's six words",
    "message.start:role": "the one message is the assistant's; text of other roles is left out",
    "native": "frames of other dialects have no place",
    "provider_id": "parts are numbered anew; a tool call keeps its id",
    "run.end": "told by the end itself",
    "tool.approval:approved": "that a call was allowed is not said; that it was asked or denied is",
    "tool.error:details": "the text of the error is all there is",
    "usage:raw": "the counts are written, under the SDK's names",
}
