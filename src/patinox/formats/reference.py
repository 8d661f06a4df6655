"""The page docs/reference/dialects.md, made of what the dialects declare: `python -m patinox.formats.reference`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from patinox.formats.base import Format
from patinox.formats.losses import Loss
from patinox.formats.registry import builtin

_HEAD = """\
# Dialects

Made from the declarations in `patinox.formats` by `python -m patinox.formats.reference > docs/reference/dialects.md`;
a test holds it current.

Each can be read and written. `?format=` and `patinox convert --from … --to …` take these names.
"""

_KEYS = """\
## What cannot be carried

A dialect declares what its writer cannot carry under *keys*, made of the words of the neutral events:

| key | means |
|---|---|
| `json`, `step.start`, `tool.result`, `native`, … | records of this kind |
| `block.start:image` | blocks of this kind, and all that is in them |
| `block.delta:annotation.add` | deltas of this op |
| `message.end:stop_sequence`, `usage:raw`, … | this field of such a record |
| `choice`, `provider_id`, `ext` | a field that any event may have; `ext` is what a source's frames said besides |
| `error`, `end:interrupted`, … | how the stream ended |

What hangs on something that is lost is lost with it, and not told again. *Sometimes* marks what is lost only for some
records, as its reason says. The report of a conversion counts what was in fact lost.

How many of these keys a pair cannot carry: those that its source can tell and its target has no word for.
"""


def dialects_page() -> str:
    """The page, as Markdown."""
    known = builtin()
    parts = [_HEAD, _overview(known), _KEYS, _pairs(known)]
    parts += [section for format_ in known.values() if (section := _losses(format_))]
    return "\n".join(parts)


def _overview(known: Mapping[str, Format[Any]]) -> str:
    rows = [f"| `{f.name}` | {f.title} | `{f.content_type}` | {f.framing} |" for f in known.values()]
    return "\n".join(["| name | dialect | content type | framing |", "|---|---|---|---|", *rows, ""])


def _pairs(known: Mapping[str, Format[Any]]) -> str:
    lines = ["| from ↓ to → | " + " | ".join(known) + " |", "|---" * (len(known) + 1) + "|"]
    for name, source in known.items():
        counts = [str(len(target.losses_from(source)) or "–") for target in known.values()]
        lines.append(f"| `{name}` | " + " | ".join(counts) + " |")
    return "\n".join([*lines, ""])


def _losses(format_: Format[Any]) -> str:
    if not format_.losses:
        return ""
    return "\n".join([f"### Into `{format_.name}`", "", "| key | why |", "|---|---|", *_rows(format_.losses), ""])


def _rows(losses: Mapping[str, Loss]) -> Iterator[str]:
    for key, loss in sorted(losses.items()):
        yield f"| `{key}` | {loss.why}{'' if loss.when is None else ' *(sometimes)*'} |"


if __name__ == "__main__":
    print(dialects_page(), end="")
