"""What `import patinox` gives: the names that users build on, with nothing installed but what the library needs."""

import subprocess
import sys

import pytest

import patinox

# These are promised, whatever else is renamed.
PROMISED = {
    "StreamManager": (),
    "ActiveStream": (),
    "StreamType": (),
    "StreamChunk": (),
    "ChunkData": (),
    "Text": (),
    "Json": (),
    "Binary": (),
    "Error": (),
    "SSEHandler": ("create_stream", "send_event", "broadcast"),
    "SSEFormatter": ("format",),
    "WebSocketHandler": ("handle_connection", "stream_response"),
    "IncrementalResponseHandler": ("process_stream",),
    "ResponseBuffer": ("push", "get_content"),
    "OverflowStrategy": (),
    "BackpressureHandler": ("should_pause",),
    "BackpressureStrategy": (),
    "StreamTransformer": (),
    "Format": (),
    "StreamingConfig": (),
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_is_public_and_has_its_methods(name: str) -> None:
    assert name in patinox.__all__
    assert [method for method in PROMISED[name] if not hasattr(getattr(patinox, name), method)] == []


def test_every_public_name_is_there_without_the_extras() -> None:
    # None in sys.modules makes an import fail as that of a package that is not installed.
    extras = ("aiohttp", "click", "grpc", "hypercorn", "jwt", "nats", "redis", "rich", "starlette", "uvicorn")
    program = f"import sys; sys.modules.update(dict.fromkeys({extras})); from patinox import *"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
