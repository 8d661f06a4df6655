"""A FastAPI application whose answers survive a reload, a cut line and a second viewer.

    pip install "patinox[server]" fastapi openai
    OPENAI_BASE_URL=http://127.0.0.1:8787/v1 OPENAI_API_KEY=none uvicorn examples.fastapi_app:app --port 8000

Then open http://127.0.0.1:8000/ask?question=Why+is+the+sky+blue. A browser's EventSource that loses its connection
sends `Last-Event-ID` by itself: it is attached to the answer under way, and no model is asked again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from openai import AsyncOpenAI

from patinox import StreamManager
from patinox.asgi import PatinoxApp, sse_response

manager = StreamManager()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with manager, AsyncOpenAI() as client:  # leaving it ends running answers, and tells their readers
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
async def ask(request: Request, question: str) -> Response:
    """Streams an answer. `Patinox-Stream-Id` in the response names it."""
    answer = request.app.state.client.chat.completions.create(
        model=os.environ.get("MODEL", "default"),
        messages=[{"role": "user", "content": question}],
        stream=True,
    )
    return await sse_response(request, manager.relay(answer, metadata={"question": question}))


# Everything else there is to do with a stream: GET /live/v1/streams/ID in any format, POST …/cancel, and so on.
app.mount("/live", PatinoxApp(manager))
