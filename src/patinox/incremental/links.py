"""Takes the address out of Markdown's links and images to hosts that are not allowed.

A page that shows a model's Markdown fetches the images in it: an address is a way to send out what the model has seen,
and nobody has to click. What decides here is the *destination*, wherever Markdown may read one:

    [text](DESTINATION "title")    ![alt](DESTINATION)    [label]: DESTINATION    <scheme:DESTINATION>

Labels, code and nesting are not looked at, since parsers differ in them: whatever follows `](` or `]:` is taken for a
destination, up to a `]`, which may begin the next. So only a destination is ever held back, and text that looks like
none passes at once. One passes if every way to read it is harmless: relative, `mailto:` or `tel:`, or http(s) to an
allowed host. Raw HTML is the business of `escape_html`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from enum import Enum, auto

from patinox.errors import InputError

_TRIGGER = re.compile(r"\][(:]|\]\Z|<")
_SPACE = re.compile(r"[\s>]*")
_SCHEME = re.compile(r"<(?:[A-Za-z][A-Za-z0-9+.-]{0,31}:?)?")
_AUTOLINK_END = re.compile(r"[\s<>\]]")
_ANGLE_END = re.compile(r"[<>\r\n\]]")
_BARE_STOP = re.compile(r"[\s()\]]")
_REST_END = re.compile(r"[\s<>)\]]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HTTP = re.compile(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)(?::[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE)
_OTHER = re.compile(r"(?:mailto|tel):", re.IGNORECASE)
_HOST = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_LONGEST = 2000  # characters; a longer destination is not allowed
NOWHERE = "about:invalid"
"""What stands in the place of an address: a page that goes nowhere, and an image that is not fetched."""


class _State(Enum):
    TEXT = auto()
    SPACE = auto()  # after `](` or `]:`, where white space may stand
    DESTINATION = auto()
    TOO_LONG = auto()  # the rest of a destination that was replaced already


class Links:
    """Replaces destinations that are not allowed by `about:invalid`.

    `allowed_hosts`: `docs.example.com`, or `*.example.com` for all below it. Raises `InputError` for anything else.
    """

    __slots__ = ("_after_colon", "_hosts", "_state", "_tail")
    is_quick = True

    def __init__(self, allowed_hosts: Sequence[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        for host in self._hosts:
            if not _HOST.fullmatch(host):
                raise InputError(f"{host!r} is no host name; write docs.example.com or *.example.com")
        self._reset()

    def _reset(self) -> None:
        self._state = _State.TEXT
        self._tail = ""
        self._after_colon = False

    def fresh(self) -> Links:
        """As in `Processor`."""
        return Links(tuple(self._hosts))

    @property
    def held(self) -> int:
        """As in `Processor`."""
        return len(self._tail)

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        if not self._tail and self._state is _State.TEXT and "]" not in text and "<" not in text:
            return text
        return self._run(self._tail + text, final=False)

    def close(self) -> str:
        """As in `Processor`."""
        rest = self._run(self._tail, final=True)
        self._reset()
        return rest

    def allows(self, destination: str) -> bool:
        """Whether a destination is harmless however it is read: with its character references, and its backslashes
        as Markdown's escapes or as a browser's slashes.
        """
        plain = html.unescape(destination).strip()
        if _CONTROL.search(plain):
            return False
        return all(self._is_harmless(way) for way in {plain, plain.replace("\\", ""), plain.replace("\\", "/")})

    def _is_harmless(self, address: str) -> bool:
        if found := _HTTP.match(address):
            return self._knows(found[1].lower())
        if _OTHER.match(address):
            return True
        return not address.startswith("//") and ":" not in re.split(r"[/?#]", address, maxsplit=1)[0]

    def _knows(self, host: str) -> bool:
        parts = host.split(".")
        return host in self._hosts or any("*." + ".".join(parts[k:]) in self._hosts for k in range(1, len(parts)))

    def _run(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        place: int | None = 0
        start = 0
        while place is not None and start < len(text):
            place = self._step(text, start, out, final=final)
            start = start if place is None else place
        self._tail = text[start:]
        return "".join(out)

    def _step(self, text: str, start: int, out: list[str], *, final: bool) -> int | None:
        """Goes on from `start`; None where more text must come first."""
        match self._state:
            case _State.TEXT:
                return self._in_text(text, start, out, final=final)
            case _State.SPACE:
                end = _SPACE.match(text, start).end()  # type: ignore[union-attr]  # it matches nothing at least
                out.append(text[start:end])
                if end < len(text):
                    self._state = _State.DESTINATION
                return end
            case _State.DESTINATION:
                return self._in_destination(text, start, out, final=final)
        stop = _REST_END.search(text, start)
        if stop is not None:
            self._state = _State.TEXT
        return stop.start() if stop else len(text)

    def _in_text(self, text: str, start: int, out: list[str], *, final: bool) -> int | None:
        found = _TRIGGER.search(text, start)
        end = found.start() if found else len(text)
        if end > start:
            out.append(text[start:end])
            return end
        assert found is not None  # the text is not empty, so the first character is its beginning
        if found[0] == "<":
            return self._autolink(text, start, out, final=final)
        if found[0] == "]":
            if not final:
                return None
        else:
            self._state = _State.SPACE
            self._after_colon = found[0] == "]:"
        out.append(found[0])
        return found.end()

    def _autolink(self, text: str, start: int, out: list[str], *, final: bool) -> int | None:
        scheme = _SCHEME.match(text, start)
        assert scheme is not None
        opener = "<"
        if scheme[0].endswith(":"):
            stop = _AUTOLINK_END.search(text, start + 1, start + _LONGEST)
            if stop is not None and stop[0] == ">":
                inside = text[start + 1 : stop.start()]
                out.append(f"<{inside if self.allows(inside) else NOWHERE}>")
                return stop.end()
            if stop is None and len(text) < start + _LONGEST and not final:
                return None
            opener = "<" if stop is not None or final else "\\<"  # too long to be judged: then it is none
        elif scheme.end() == len(text) and not final:
            return None
        out.append(opener)
        return start + 1

    def _in_destination(self, text: str, start: int, out: list[str], *, final: bool) -> int | None:
        end = self._destination_end(text, start)
        whole = end if end is not None else len(text)
        if whole - start > _LONGEST:
            out.append(NOWHERE)
            self._state = _State.TOO_LONG
            return start + _LONGEST
        if end is None and not final:
            return None
        self._state = _State.TEXT
        destination = text[start:whole]
        inside = destination.removeprefix("<").removesuffix(">") if destination.startswith("<") else destination
        out.append(destination if self.allows(inside) else NOWHERE)
        return whole

    def _destination_end(self, text: str, start: int) -> int | None:
        """Where one ends: behind its `>`, or before white space, a `)` too many (CommonMark 0.31, 6.3) or a `]`."""
        if text[start] == "<":
            stop = _ANGLE_END.search(text, start + 1)
            return None if stop is None else stop.start() + (stop[0] == ">")
        depth = 0
        for stop in _BARE_STOP.finditer(text, start):
            if stop[0] == "(":
                depth += 1
            elif stop[0] == ")" and not self._after_colon:
                if not depth:
                    return stop.start()
                depth -= 1
            elif stop[0] != ")":
                return stop.start()
        return None
