"""`patinox chat`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from patinox.cli.exits import Exit
from patinox.cli.options import format_option, server_option
from patinox.errors import PatinoxError


@click.command(short_help="Ask a model, and watch the answer come.")
@click.argument("prompt")
@server_option
@click.option("--model", metavar="NAME", help="The model, as NAME or UPSTREAM/NAME. Default: the server's own.")
@format_option
def chat(prompt: str, url: str, model: str | None, format_name: str | None) -> None:
    """Ask PROMPT, and print the answer as it comes. `-` reads the prompt from stdin.

    The answer lives at the server: when the connection breaks, it is read on where it broke, and nothing is asked
    twice. Ctrl-C stops it there, too.

    \b
    Examples:
      patinox chat "Why is the sky blue?"
      git diff | patinox chat - --model openai/gpt-4o-mini > review.txt

    Exit codes: 0 the answer is complete, or incomplete (said on stderr); 1 it failed, was interrupted or cancelled,
    or the server cannot be reached; 2 wrong input.
    """
    if prompt == "-":
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not prompt.strip():
        raise click.UsageError("The prompt is empty.")
    try:
        exit_code = asyncio.run(_chat(url, body_of(prompt, model), format_name))
    except (KeyboardInterrupt, asyncio.CancelledError):
        exit_code = Exit.FAILED  # what was left, and how to go on, has been said
    click.get_current_context().exit(int(exit_code))


def body_of(prompt: str, model: str | None) -> dict[str, Any]:
    """The request, in the words of OpenAI's Chat Completions."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return body if model is None else {"model": model, **body}


async def _chat(url: str, body: dict[str, Any], format_name: str | None) -> Exit:
    # The HTTP client takes longer to import than all the rest.
    from patinox.cli.asking import answer
    from patinox.cli.client import Server
    from patinox.cli.watching import failure_of, screen_for

    try:
        async with Server(url) as server:
            return await answer(server, body, screen_for(format_name, events=False), format_name=format_name)
    except PatinoxError as error:
        raise failure_of(error) from error
