"""From variables of the environment to settings: `PATINOX_STREAMING__SSE__RETRY_INTERVAL` is one, by its underscores.

A double underscore stands between a table and what is in it, since names of settings have single ones. A variable of
ours without any is somebody else's (`PATINOX_OPENAI_KEY`, `PATINOX_SERVER`), unless it spells a setting but for that:
ignoring it would leave whoever set it with a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from patinox.config.loading import Given, Layer
from patinox.config.outline import Outline, outline_of
from patinox.config.schema import NAME, Settings

PREFIX = "PATINOX_"
NESTING = "__"
_UPSTREAM_KEY = "_KEY"  # PATINOX_<NAME>_KEY, whatever an upstream is called


def from_environment(env: Mapping[str, str], root: type[Settings]) -> Layer:
    """The settings below `root` that variables hold, and those that a variable spells with too few underscores."""
    ours = sorted(name for name in env if name.startswith(PREFIX))
    settings = [name for name in ours if NESTING in name.removeprefix(PREFIX)]
    others = [name for name in ours if NESTING not in name.removeprefix(PREFIX) and not name.endswith(_UPSTREAM_KEY)]
    return Layer(
        given=tuple(Given(_path_of(name), env[name], f"environment, {name}", is_text=True) for name in settings),
        problems=tuple(filter(None, (_misspelt(name, outline_of(root)) for name in others))),
    )


def _path_of(variable: str) -> tuple[str, ...]:
    """`PATINOX_GATEWAY__UPSTREAMS__MY_NAME__URL` is `gateway.upstreams.my-name.url`: names have hyphens."""
    parts = variable.removeprefix(PREFIX).lower().split(NESTING)
    for above in (["gateway", "upstreams"], ["pipelines"], ["auth", "keys"]):
        place = len(above)
        if parts[:place] == above:
            parts[place : place + 1] = [part.replace("_", "-") for part in parts[place : place + 1]]
    return tuple(parts)


def _misspelt(variable: str, outline: Outline) -> str | None:
    """What to say of a variable that would be a setting, were the underscores between its tables double."""
    for path in outline.keys:
        parts = [part if part == NAME else part.upper() for part in path.split(".")]
        pattern = "_".join("([A-Z0-9_]+)" if part == NAME else part for part in parts)
        if found := re.fullmatch(PREFIX + pattern, variable):
            names = iter(found.groups())
            right = PREFIX + NESTING.join(next(names) if part == NAME else part for part in parts)
            return f"environment, {variable}: tables are followed by two underscores: {right} sets {path}"
    return None
