"""LiteLLM's path per chunk: recorded chat streams through its library, each chunk written as JSON again.

Runs in the peers' environment: `python -m benchmarks.litellm_chunks FOLDER PASSES [LEFT_OUT …]`. Prints the CPU
seconds of the fastest pass. The bytes come from memory, event by event; a call's set-up does not count.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a price list at import

import httpx
import litellm
import openai

litellm.telemetry = False
litellm.suppress_debug_info = True


class Recording(httpx.SyncByteStream):
    """A recorded answer, an event at a time."""

    def __init__(self, data: bytes) -> None:
        self._events = [event + b"\n\n" for event in data.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._events)


def answer(data: bytes) -> Any:
    """The library's iterator of chunks over one recording."""

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Recording(data))

    client = openai.OpenAI(
        api_key="none", base_url="http://upstream/v1", http_client=httpx.Client(transport=httpx.MockTransport(respond))
    )
    messages = [{"role": "user", "content": "Hi"}]
    return litellm.completion(model="openai/bench", messages=messages, stream=True, client=client)


def one_pass(recordings: list[bytes]) -> float:
    """CPU seconds for the chunks of all recordings."""
    used_s = 0.0
    for data in recordings:
        chunks = answer(data)
        started_s = time.process_time()
        for chunk in chunks:
            f"data: {chunk.model_dump_json(exclude_none=True, exclude_unset=True)}\n\n".encode()
        used_s += time.process_time() - started_s
    return used_s


def main() -> None:
    """Measure, print."""
    folder, passes, *left_out = sys.argv[1:]
    recordings = [path.read_bytes() for path in sorted(Path(folder).glob("*.sse")) if path.stem not in left_out]
    print(min(one_pass(recordings) for _ in range(int(passes))))


if __name__ == "__main__":
    main()
