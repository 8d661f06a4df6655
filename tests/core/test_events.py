"""What an event says about itself."""

from typing import Any

import pytest

from patinox.core.events import Native


@pytest.mark.parametrize(
    ("ext", "malformed"),
    [(None, False), ({}, False), ({"ollama": {"raw": "{"}}, False), ({"gemini": {"raw": ""}}, False),
     ({"gemini": 5}, False), ({"gemini": {"raw": "{"}}, True)],
)  # fmt: skip
def test_a_frame_that_was_kept_unread_is_malformed(ext: dict[str, Any] | None, malformed: bool) -> None:
    assert Native(dialect="gemini", ext=ext).is_malformed is malformed
