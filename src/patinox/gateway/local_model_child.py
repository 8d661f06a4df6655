"""The process in which the embedded model lives: llama.cpp's own server, and nothing of Patinox.

Run by its path, never imported by the server: a crash of the native code, its threads and its memory stay in
here. The standard input is the leash: its first line is a JSON object of settings, nothing else ever comes,
and its end means that the parent is gone. Exit status 0: the parent ended; 1: the server could not start.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> int:
    """Serves until the standard input ends."""
    # Ctrl-C at the terminal is for the parent, which ends this process in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    settings = json.loads(line)
    _die_with(settings["parent_pid"])
    try:
        server = _serve(settings)
    except RuntimeError as error:  # llama.cpp has printed why
        print(error, file=sys.stderr)
        return 1
    sys.stdin.buffer.read()
    del server  # named until here, so that it lives until here
    return 0


def _die_with(parent_pid: int) -> None:
    """Makes Linux kill this process with its parent: the leash is not seen while the model is loaded."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it was gone before the call
            sys.exit(0)


def _serve(settings: dict[str, Any]) -> Any:
    """Loads the model and listens. Returns the server, whose threads run as long as it is referenced."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model_id"]}
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = [settings["api_key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = params.endpoint_metrics = True
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context_tokens"] * settings["parallel"]
    params.fit_params = False  # the sizes are ours, and finding out what fits costs seconds
    params.cache_ram_mib = 0  # finished prompts would be kept, up to 8 GiB of them
    # A request holds a thread from its arrival to its end: those in the queue need some, not only the slots.
    params.n_threads_http = settings["parallel"] + settings["queued"]
    # One batch is the longest that anything waits: a cancelled prompt is noticed only between two.
    params.n_batch = params.n_ubatch = 256
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # spinning takes the cores from the streaming server
    return xllamacpp.Server(params)


if __name__ == "__main__":
    # llama.cpp's threads may be busy; the interpreter's own way out would wait for them.
    status = main()
    sys.stdout.flush()
    os._exit(status)
