"""`patinox convert`."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import click

from patinox.cli.exits import WrongInput, sentences
from patinox.core.chunks import End, Error, Outcome
from patinox.errors import FramingError, InputError
from patinox.formats.transformer import LossReport, StreamTransformer

_PIECE_BYTES = 64 * 1024


@click.command(short_help="Write a recorded stream in another format.")
@click.option("--from", "source", required=True, metavar="FORMAT", help="The format that the stream is in.")
@click.option("--to", "target", required=True, metavar="FORMAT", help="The format to write.")
@click.argument("file", default="-", metavar="[FILE]")
def convert(source: str, target: str, file: str) -> None:
    """Read a stream from FILE (default: standard input), and write it to standard output in another format.

    Reads and writes as it goes. What the other format cannot carry is told on standard error, and what was malformed
    but could be read on from. `patinox formats` lists the formats.

    \b
    Examples:
      patinox convert --from anthropic --to openai-chat answer.sse > chat.sse
      curl -sN … | patinox convert --from openai-responses --to text

    Exit codes: 0 fine, also where something was lost, or the stream itself ends with an error; 2 the input is no whole
    stream of that format: what was good of it is written, and ends with the other format's error.
    """
    with sentences():
        transformer = StreamTransformer(source, target)
    name: str = "the input" if file == "-" else file
    offset = 0
    out: IO[bytes] = sys.stdout.buffer
    with _opened(file) as stream:
        try:
            for piece in _utf8(_pieces(stream)):
                offset += len(piece)
                _write(out, transformer.feed(piece))
            _write(out, transformer.close())
        except InputError as error:
            _write(out, transformer.abort(Error("malformed_stream", error.message)))
            click.echo(_told(transformer.report), err=True)
            place = "" if isinstance(error, FramingError) else f" (at byte {offset})"
            raise WrongInput(f"{name}: {error.message}{place}") from error
    click.echo(_told(transformer.report), err=True)
    _check(transformer, name, offset)


def _check(transformer: StreamTransformer, name: str, size_bytes: int) -> None:
    """Says that the input was no whole stream of the format named, if it was not."""
    if not transformer.is_recognised:
        what = f"nothing in it has a meaning in {transformer.source.name}" if size_bytes else "it is empty"
        raise WrongInput(f"{name} is no {transformer.source.name} stream: {what} (bytes 0 to {size_bytes})")
    ending = transformer.ending
    if isinstance(ending, End) and ending.outcome is Outcome.INTERRUPTED:
        why = ending.error.message if ending.error is not None else "the stream broke off"
        raise WrongInput(f"{name}: {why} (at byte {size_bytes})")


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(Path(file).open("rb", buffering=0))
        except OSError as error:
            raise WrongInput(f"{file}: {error.strerror}") from error
        yield stream


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """What is there, as it comes: the first bytes of a pipe are not held back for the last."""
    read = getattr(stream, "read1", stream.read)
    while True:
        try:
            piece = read(_PIECE_BYTES)
        except OSError as error:
            raise WrongInput(f"reading failed: {error.strerror}") from error
        if not piece:
            return
        yield piece


def _utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces up to what is not UTF-8. Raises FramingError there, once everything before it was taken."""
    decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
    for piece in pieces:
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            good = max(error.start - held, 0)
            yield piece[:good]
            raise FramingError("not UTF-8", offset=offset - held + error.start) from error
        offset += len(piece)
        yield piece
    if rest := decoder.getstate()[0]:
        raise FramingError("the last character is cut off", offset=offset - len(rest))


def _write(out: IO[bytes], data: bytes) -> None:
    if data:
        out.write(data)
        out.flush()


def _told(report: LossReport) -> str:
    """The loss report, for people."""
    size = f"{_counted(report.records, 'record')}, {_counted(report.frames, 'frame')}"
    lines = [f"{report.source} → {report.target}: {size}"]
    if report.lost:
        lines.append("Lost in this stream, or told in other words:")
        width = max(len(loss.what) for loss in report.lost)
        lines += [f"  {loss.count:>6} × {loss.what.ljust(width)}  {loss.why}" for loss in report.lost]
    else:
        lines.append("Nothing was lost.")
    if report.problems:
        lines.append("Malformed, and read on from:")
        lines += [f"  {problem}" for problem in report.problems]
        if report.problem_count > len(report.problems):
            lines.append(f"  and {report.problem_count - len(report.problems)} more like these")
    seen = {loss.what for loss in report.lost}
    if others := [key for key in report.cannot_carry if key not in seen]:
        lines.append(f"This pair cannot carry either, had it been there: {', '.join(sorted(others))}")
    return "\n".join(lines)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
