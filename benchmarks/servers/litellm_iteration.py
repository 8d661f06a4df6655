"""LiteLLM as a library: the cost of `async for chunk in acompletion(stream=True)`, and next to nothing more.

The reader gets all the text in one write at the end, so that serving it doesn't count against the library.
"""

from __future__ import annotations

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a price list at import

import litellm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.servers.host import serve

litellm.telemetry = False


async def answer(request: Request) -> Response:
    """Iterate over one answer of the upstream, then send its pieces as events."""
    body = await request.json()
    chunks = await litellm.acompletion(
        model="openai/bench",
        messages=body["messages"],
        api_base=f"http://127.0.0.1:{sys.argv[1]}/v1",
        api_key="none",
        stream=True,
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    return Response("".join(f"data: {piece}\n\n" for piece in pieces), media_type="text/event-stream")


async def publish(stream: int, text: str) -> None:
    """Nothing is published here."""


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])]), publish, 0)
