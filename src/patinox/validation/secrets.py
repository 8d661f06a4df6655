"""Keys and tokens by their published shapes.

Each shape begins with letters that hardly any prose has, so almost nothing clean is held back. A shape is looked for
where no letter or digit stands before it; a `\\n`, `\\r` or `\\t` that a program's text spells with a backslash is no
letter. Lengths are bounded: of a key that is longer than any real one, what is over is looked at anew.
"""

from __future__ import annotations

import msgspec

from patinox.validation.base import Policy
from patinox.validation.patterns import Patterns, Rule

_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_END = r"(?![A-Za-z0-9])"

_RULES: tuple[Rule, ...] = (
    Rule("aws-access-key", r"(?<![A-Z0-9])A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}" + _END),
    Rule("github-token", _START + r"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    Rule("gitlab-token", _START + r"glpat-[A-Za-z0-9_-]{20,64}"),
    # OpenAI (sk-, sk-proj-), Anthropic (sk-ant-), OpenRouter (sk-or-) and those who took after them.
    Rule("sk-key", _START + r"sk-[A-Za-z0-9_-]{20,255}"),
    Rule("stripe-key", _START + r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
    Rule("google-api-key", r"AIza[A-Za-z0-9_-]{35}"),
    Rule("slack-token", _START + r"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    Rule("slack-webhook", r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,100}"),
    Rule("huggingface-token", _START + r"hf_[A-Za-z0-9]{30,64}"),
    Rule("npm-token", _START + r"npm_[A-Za-z0-9]{36}"),
    Rule("pypi-token", _START + r"pypi-[A-Za-z0-9_-]{50,500}"),
    Rule("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    # RFC 7519: three base64url parts, of which the first two are JSON objects ("eyJ" is '{"'). Not far within a run of
    # such characters, since each place of a long one that could begin a token would have the rest of it read.
    Rule(
        "jwt",
        r"(?<![A-Za-z0-9_-]{64})"
        + _START
        + r"eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{2,8192}\.[A-Za-z0-9_-]{10,2048}",
    ),
    # RFC 7468, and PGP's armour; up to the end line, or as much as a key may have where that never comes. Four dashes
    # are no secret, and are what every list and table begins with.
    Rule(
        "private-key",
        r"(?<=----)-BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16384}"
        r"(?:-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
)

# No character can be read in two ways, so nothing is tried twice; the bound that is counted does not see that.
SECRET_RULES: tuple[Rule, ...] = tuple(msgspec.structs.replace(rule, is_quick=True) for rule in _RULES)
"""The shapes that `secrets()` looks for."""


def secrets(*, name: str = "secrets", policy: Policy | None = None, extra: tuple[Rule, ...] = ()) -> Patterns:
    """A validator for common key formats, and for `extra` rules of your own."""
    return Patterns((*SECRET_RULES, *extra), name=name, policy=policy)
