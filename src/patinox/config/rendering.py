"""The settings as text: a commented TOML of those in effect, and the reference page."""

from __future__ import annotations

from collections.abc import Iterator

from patinox.config.combinations import AT_FULL_WINDOW, AT_HIGH_MARK, combinations
from patinox.config.schema import (
    Key,
    Settings,
    keys_of,
    named_tables_of,
    path_with_name,
    tables_of,
    walk,
)
from patinox.config.serving import UpstreamConfig, key_variable
from patinox.config.whole import Config

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m patinox.config`, from what `src/patinox/config/` says. Don't edit it by hand. -->

Settings come from, later ones over earlier ones: the defaults; a TOML file (`patinox serve --config FILE`);
the environment; the command line. In the environment, `PATINOX_STREAMING__SSE__RETRY_INTERVAL=5s` sets
`streaming.sse.retry_interval`: upper case, a double underscore for each dot; a variable that has single ones there is
refused. In Python, `StreamingConfig(…)` takes the same names, except that a duration is a number of seconds and its
name ends in `_s`.

Durations carry a unit (`"250ms"`, `"5s"`, `"1.5h"`, `"7d"`); sizes are bytes, or have one (`"64KB"` = 64,000,
`"16MiB"` = 16 × 1024²). An unknown key or a bad value is refused at start, with its line and what is allowed.
`patinox config check FILE` does only that; `patinox config show` prints what is in effect.

An upstream's API key stands in no file: `PATINOX_<NAME>_KEY` holds it, `PATINOX_MY_NAME_KEY` for `my-name`.
"""

_COMBINATIONS = """\
## Overflow, strategy and pace

`pace_to` says for whom the producer waits where `pause` or `block` makes it wait; elsewhere it has no effect.
Nobody waits for a reader that made no progress for `backpressure.stall`; with no reader that counts, the
producer is not paced. With `retain = "full"` what leaves the hot window is still in the store.
"""


def render_toml(config: Settings) -> str:
    """The settings in effect as a TOML file that loads to the same, each key with its meaning.

    Passwords in URLs are masked; keys of upstreams are never in there.
    """
    return "\n".join(_toml_lines(config)).strip() + "\n"


def explain(path: str, root: type[Settings] = Config) -> str:
    """What the key at a dotted path means, accepts and defaults to. KeyError if there is none."""
    key = {key.path: key for cls in walk(root) for key in keys_of(cls)}[path]
    return f"{path}: {key.kind.doc}\nallowed: {key.kind.allowed()}\ndefault: {_default(key)}"


def render_reference() -> str:
    """The page docs/reference/config.md."""
    tables = "\n".join(line for cls in walk(Config) if keys_of(cls) for line in _reference_lines(cls))
    return f"{_INTRODUCTION}\n{tables}\n{_COMBINATIONS}\n" + "\n".join(_combination_lines()) + "\n"


def _toml_lines(settings: Settings, name: str = "") -> Iterator[str]:
    cls = type(settings)
    if keys_of(cls):
        yield from ("", f"# {_headline(cls)}", f"[{path_with_name(cls.table, name)}]")
        if isinstance(settings, UpstreamConfig):
            yield f"# Its key is taken from the environment: {key_variable(name)}"
    for key in keys_of(cls):
        yield f"# {key.kind.doc}"
        yield f"# Allowed: {key.kind.allowed()}."
        yield f"{key.name} = {key.kind.write(getattr(settings, key.attribute))}"
    for attribute in tables_of(cls):
        yield from _toml_lines(getattr(settings, attribute))
    for attribute in named_tables_of(cls):
        for item in getattr(settings, attribute):
            yield from _toml_lines(item, item.name)


def _reference_lines(cls: type[Settings]) -> Iterator[str]:
    yield from (
        f"## `[{cls.table}]`",
        "",
        _headline(cls),
        "",
        "| key | default | meaning | allowed |",
        "|---|---|---|---|",
    )
    for key in keys_of(cls):
        cells = (
            f"`{key.name}`",
            f"`{_default(key)}`" if not key.required else "none",
            key.kind.doc,
            key.kind.allowed(),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _combination_lines() -> Iterator[str]:
    yield from ("| `strategy` | at the high mark |", "|---|---|")
    yield from (f"| `{strategy}` | {meaning} |" for strategy, meaning in AT_HIGH_MARK.items())
    yield from ("", "| `overflow_strategy` | when the window is full |", "|---|---|")
    yield from (f"| `{overflow}` | {meaning} |" for overflow, meaning in AT_FULL_WINDOW.items())
    yield from ("", "Which go together; the others are refused at start, for the reason given:", "")
    yield from ("| `overflow_strategy` | `strategy` | `pace_to` | |", "|---|---|---|---|")
    for overflow, strategy, pace_to, refused in combinations():
        verdict = "accepted" if refused is None else f"refused: {refused.reason}"
        yield f"| `{overflow}` | `{strategy}` | `{pace_to}` | {verdict} |"


def _headline(cls: type[Settings]) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _default(key: Key) -> str:
    return "none: it has to be given" if key.required else key.kind.write(key.default)
