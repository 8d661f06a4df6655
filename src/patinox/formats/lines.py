"""Bytes that come in pieces to NDJSON lines, without I/O; and what every parser of pieces needs.

Whatever way the bytes are cut, the lines are the same, and so is the error for one that is over the limit:
lines that were complete before it are returned first, the next call raises it.
"""

from __future__ import annotations

from patinox.errors import FramingError

DEFAULT_LIMIT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
_JSON_SPACE = b" \t\r"


class PieceParser:
    """What both parsers share: the byte count, the byte order mark, the unfinished rest, a waiting error."""

    def __init__(self, limit_bytes: int) -> None:
        self.offset = 0
        """Bytes fed so far."""
        self._limit_bytes = limit_bytes
        self._opening: bytes | None = b""
        self._rest = bytearray()
        self._start = 0
        self._failure: FramingError | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} offset={self.offset} pending_bytes={len(self._rest)}>"

    def stats(self) -> dict[str, int]:
        """Bytes fed, and bytes held of what is not finished."""
        return {"offset": self.offset, "pending_bytes": len(self._rest)}

    def _take(self, data: bytes) -> bytes:
        """Count `data`; hold the stream's first bytes back until it is clear if they are a BOM."""
        if self._failure is not None:
            raise self._failure
        self.offset += len(data)
        if self._opening is None:
            return data
        opening = self._opening + data
        if len(opening) < len(_BOM) and _BOM.startswith(opening):
            self._opening = opening
            return b""
        self._opening = None
        return opening.removeprefix(_BOM)

    def _finish(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        rest = bytes(self._rest) or self._opening or b""
        self._rest.clear()
        self._opening = None
        return rest

    def _fail(self, what: str, offset: int) -> None:
        """Give up at `offset`; every later call raises."""
        self._failure = FramingError(f"{what} is longer than {self._limit_bytes} bytes", offset=offset)
        self._rest.clear()

    def _raise_unless(self, *, delivered: bool) -> None:
        """Raise the failure, unless this call still has to deliver what came before it."""
        if self._failure is not None and not delivered:
            raise self._failure


class LineParser(PieceParser):
    """Reads NDJSON: one JSON text a line, ended by LF or CRLF. A CR elsewhere is white space (RFC 8259 §2).

    Lines are returned without white space at either end, and those left empty are skipped: heartbeats of
    single spaces cost nothing. The limit counts a line's bytes before its LF, but no white space before it.
    """

    def __init__(self, *, max_line_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        super().__init__(max_line_bytes)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises FramingError for a line over the limit."""
        text = self._take(data)
        began = self._start if self._rest else None
        if began is not None:
            self._rest += text
            if _LF not in text:
                return self._bounded([])
            text = bytes(self._rest)
            self._rest.clear()
        pieces = text.split(b"\n")
        rest = pieces.pop()
        if len(text) > self._limit_bytes:
            pieces = self._within_limit(pieces, rest, began)
        lines = [line for piece in pieces if (line := piece.strip(_JSON_SPACE))]
        self._raise_unless(delivered=bool(lines))
        if not rest or self._failure is not None:
            return lines
        self._rest += rest.lstrip(_JSON_SPACE)
        self._start = self.offset - len(self._rest)
        return self._bounded(lines)

    def close(self) -> bytes:
        """End of the stream. Returns the unterminated last line, b"" if there is none.

        Raises FramingError if one was waiting.
        """
        return self._finish().strip(_JSON_SPACE)

    def _bounded(self, lines: list[bytes]) -> list[bytes]:
        if len(self._rest) > self._limit_bytes:
            self._fail("a line", self._start)
            self._raise_unless(delivered=bool(lines))
        return lines

    def _within_limit(self, pieces: list[bytes], rest: bytes, began: int | None) -> list[bytes]:
        """The pieces up to the first that is too long, which becomes the failure."""
        for index, piece in enumerate(pieces):
            if len(piece.lstrip(_JSON_SPACE)) <= self._limit_bytes:
                continue
            tail = b"\n".join([*pieces[index:], rest]).lstrip(_JSON_SPACE)
            self._fail("a line", began if began is not None and index == 0 else self.offset - len(tail))
            return pieces[:index]
        return pieces
