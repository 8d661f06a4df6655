"""The kinds of value a setting can have: what each accepts, in words and in code.

A kind stands in the setting's annotation, `ttl_s: Annotated[float, Duration("How long …")]`. Validation,
error messages, `patinox config show` and the reference page are all made from it.

- `check(value)`      a Python value: its canonical form, or ValueError with a reason to follow the value
- `read(raw)`         the same for a value as TOML has it
- `read_text(text)`   the same for an environment variable or a command line
- `write(value)`      the TOML literal that `read` takes back
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

_WORDS_FOR_FLAGS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_CREDENTIALS = re.compile(r"(?<=//)[^@/\s]*@")


@dataclass(frozen=True)
class Kind:
    """What one setting means (`doc`, a sentence or two) and what it accepts."""

    doc: str

    def allowed(self) -> str:
        """The accepted values in words, to follow "allowed: "."""
        raise NotImplementedError

    def check(self, value: object) -> Any:
        """The canonical form of a Python value; ValueError with the reason if it is not accepted."""
        raise NotImplementedError

    def read(self, raw: object) -> Any:
        """`check` for a value as TOML has it."""
        return self.check(raw)

    def read_text(self, text: str) -> Any:
        """`check` for text of the environment or a command line."""
        return self.read(text)

    def write(self, value: Any) -> str:
        """The value as a TOML literal."""
        return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Flag(Kind):
    """On or off."""

    def allowed(self) -> str:
        """As in Kind."""
        return "true or false"

    def check(self, value: object) -> bool:
        """As in Kind."""
        if not isinstance(value, bool):
            raise ValueError("is neither true nor false")
        return value

    def read_text(self, text: str) -> bool:
        """As in Kind."""
        return self.check(_WORDS_FOR_FLAGS.get(text.strip().lower()))


@dataclass(frozen=True)
class Choice(Kind):
    """One word of an enumeration. In code the word itself will do as well as the member."""

    options: type[StrEnum]

    def allowed(self) -> str:
        """As in Kind."""
        return "one of " + ", ".join(f'"{option}"' for option in self.options)

    def check(self, value: object) -> StrEnum:
        """As in Kind."""
        if not isinstance(value, str) or value not in [*self.options]:
            raise ValueError("is none of the words it may be")
        return self.options(value)


@dataclass(frozen=True)
class Text(Kind):
    """A string that matches `pattern` as a whole; `form` says in words what that is."""

    form: str
    pattern: str

    def allowed(self) -> str:
        """As in Kind."""
        return self.form

    def check(self, value: object) -> str:
        """As in Kind."""
        if not isinstance(value, str):
            raise ValueError("is not a string")
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError("has another form")
        return value

    def write(self, value: Any) -> str:
        """As in Kind; a password in a URL is masked, since what is shown gets pasted into bug reports."""
        return super().write(_CREDENTIALS.sub("***@", value))


@dataclass(frozen=True)
class BaseUrl(Kind):
    """An http or https URL that paths are appended to. A final slash is taken off."""

    def allowed(self) -> str:
        """As in Kind."""
        return "an http:// or https:// URL without credentials, query or fragment"

    def check(self, value: object) -> str:
        """As in Kind."""
        if not isinstance(value, str):
            raise ValueError("is not a string")
        if reason := _fault_of_url(value):
            raise ValueError(reason)
        return value.rstrip("/")


@dataclass(frozen=True)
class Names(Kind):
    """Distinct non-empty strings: in Python a tuple, in TOML an array, in the environment between commas."""

    def allowed(self) -> str:
        """As in Kind."""
        return "an array of distinct, non-empty strings"

    def check(self, value: object) -> tuple[str, ...]:
        """As in Kind."""
        if not isinstance(value, list | tuple):
            raise ValueError("is not an array")
        if not all(isinstance(name, str) and name and name == name.strip() for name in value):
            raise ValueError("holds something that is not a non-empty string")
        if not all(name.isprintable() for name in value):
            raise ValueError("holds a control character")
        if len(set(value)) != len(value):
            raise ValueError("holds a name twice")
        return tuple(value)

    def read_text(self, text: str) -> tuple[str, ...]:
        """As in Kind."""
        return self.check([name.strip() for name in text.split(",")] if text.strip() else [])


@dataclass(frozen=True)
class Choices(Kind):
    """Distinct words of an enumeration, in an order that counts."""

    options: type[StrEnum]

    def allowed(self) -> str:
        """As in Kind."""
        return "an array of distinct words out of " + ", ".join(f'"{option}"' for option in self.options)

    def check(self, value: object) -> tuple[StrEnum, ...]:
        """As in Kind."""
        if not isinstance(value, list | tuple):
            raise ValueError("is not an array")
        if not all(isinstance(word, str) and word in [*self.options] for word in value):
            raise ValueError("holds something that is none of the words")
        if len(set(value)) != len(value):
            raise ValueError("holds a word twice")
        return tuple(self.options(word) for word in value)

    def read_text(self, text: str) -> tuple[StrEnum, ...]:
        """As in Kind; between commas."""
        return self.check([word.strip() for word in text.split(",")] if text.strip() else [])


@dataclass(frozen=True)
class Tables(Kind):
    """An array of tables, each with a string under `key`; what else is in them is somebody else's to judge."""

    key: str

    def allowed(self) -> str:
        """As in Kind."""
        return f"an array of tables, each with the string `{self.key}`"

    def check(self, value: object) -> tuple[dict[str, Any], ...]:
        """As in Kind."""
        if not isinstance(value, list | tuple):
            raise ValueError("is not an array")
        for table in value:
            if not isinstance(table, dict) or not isinstance(table.get(self.key), str) or not table[self.key]:
                raise ValueError(f"holds something that is not a table with the string `{self.key}`")
        return tuple(dict(table) for table in value)

    def read_text(self, text: str) -> tuple[dict[str, Any], ...]:
        """As in Kind; as JSON."""
        try:
            return self.check(json.loads(text) if text.strip() else [])
        except json.JSONDecodeError:
            raise ValueError("is not JSON") from None

    def write(self, value: Any) -> str:
        """As in Kind; inline tables."""
        return _inline(list(value))


def _inline(value: Any) -> str:
    """A TOML literal of arrays, tables and scalars. Strings are masked as in `Text`."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(_CREDENTIALS.sub("***@", value), ensure_ascii=False)
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def mask_credentials(text: str) -> str:
    """The text with `user:password@` of any URL in it replaced by `***@`."""
    return _CREDENTIALS.sub("***@", text)


def _fault_of_url(url: str) -> str:
    """Why the URL cannot be an upstream's base, or an empty string."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what validates it
    except ValueError as error:
        return f"is not a URL ({error})"
    if parts.scheme not in ("http", "https"):
        return (
            f"has the scheme {parts.scheme!r}" if parts.scheme else "has no scheme: begin it with http:// or https://"
        )
    if "@" in parts.netloc:
        return "carries credentials; a key belongs in the environment"
    if not parts.hostname:
        return "names no host"
    if parts.query or parts.fragment:
        return "has a query or a fragment, to which no path can be appended"
    return "" if url.isprintable() and " " not in url else "contains spaces or control characters"
