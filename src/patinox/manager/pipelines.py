"""The pipelines that streams may be given by name, and the one that they get without being asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from patinox.errors import InputError
from patinox.incremental.handler import IncrementalResponseHandler

PipelineChoice = IncrementalResponseHandler | str | None
"""A pipeline, the name of one, or the default."""


class Pipelines(Mapping[str, IncrementalResponseHandler]):
    """Recipes by name. `default` is for every stream that is given none. Raises `InputError` if it isn't there."""

    def __init__(
        self, handlers: Mapping[str, IncrementalResponseHandler] | None = None, default: str | None = None
    ) -> None:
        self._handlers = dict(handlers or {})
        self.default = default
        self.choose(None)

    def __repr__(self) -> str:
        return f"<Pipelines {', '.join(self) or 'none'}>"

    def __getitem__(self, name: str) -> IncrementalResponseHandler:
        return self._handlers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handlers)

    def __len__(self) -> int:
        return len(self._handlers)

    async def aclose(self) -> None:
        """Closes all of them; there will be no more streams."""
        for handler in self._handlers.values():
            await handler.aclose()

    def choose(self, choice: PipelineChoice) -> IncrementalResponseHandler | None:
        """The pipeline itself. Raises `InputError` for a name that there is not."""
        if isinstance(choice, IncrementalResponseHandler):
            return choice
        name = self.default if choice is None else choice
        if name is None:
            return None
        if name not in self._handlers:
            raise InputError(f"there is no pipeline {name[:80]!r}; there are {', '.join(self) or 'none'}")
        return self._handlers[name]

    def asked_for(self, wanted: str | None, fixed: str | None = None) -> str | None:
        """The name for a client that asks for `wanted`, where whoever runs the server has said `fixed`, or a default.

        What was said for everybody is not for a client to change. Raises `InputError` where it tries.
        """
        ours = fixed or self.default
        if wanted and ours and wanted != ours:
            raise InputError(f"the pipeline here is {ours!r}, and cannot be chosen")
        return ours or wanted or None
