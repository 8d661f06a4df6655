"""The one door that every transport goes through: who asks, and what of it they may have.

    request ─▶ caller (who, of which tenant) ─▶ open(stream, right) ─▶ the stream, or `StreamNotFound`

Here everybody is let in, as on a loopback address. `server/auth` has the door that asks; whatever a transport serves,
it serves through `enter`, `open` and `may`, so that one set of rules holds for all of them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

import msgspec

from patinox.core.attach import After
from patinox.core.chunks import EventId
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.channels import Channel

Scope = MutableMapping[str, Any]


class Right(StrEnum):
    """What one may do: with a stream or a channel, and (`create`, `models`) without one."""

    READ = "read"
    WRITE = "write"
    CANCEL = "cancel"
    DELETE = "delete"
    CREATE = "create"
    MODELS = "models"


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `subject` is empty for somebody whom nobody asked for a name."""

    tenant: str = ""
    subject: str = ""


ANYBODY = Caller()


class Access:
    """Lets everybody in, everywhere."""

    def __init__(self, manager: StreamManager) -> None:
        self.manager = manager

    async def caller(self, scope: Scope) -> Caller:
        """Who makes this request (an ASGI scope). Raises where who it is matters and cannot be told."""
        return ANYBODY

    def may(self, caller: Caller, right: Right, subject: ActiveStream | Channel | None = None) -> bool:
        """Whether `caller` has this right on a stream or a channel, or without one."""
        return True

    def check(self, caller: Caller, right: Right, subject: ActiveStream | Channel | None = None) -> None:
        """Raises where `may` says no."""

    async def enter(self, scope: Scope, right: Right) -> Caller:
        """Who makes a request that needs a right on no stream in particular."""
        caller = await self.caller(scope)
        self.check(caller, right)
        return caller

    async def open(self, caller: Caller, stream_id: str, right: Right) -> ActiveStream:
        """A stream on which `caller` has this right. Raises `StreamNotFound`, or `StreamGone` to whom may know."""
        stream = await self.manager.open(stream_id, caller.tenant)
        self.check(caller, right, stream)
        return stream

    async def seek(self, caller: Caller, stream_id: str, right: Right) -> ActiveStream | None:
        """The same, where there is one. Raises where there is one that `caller` has no such right on."""
        stream = await self.manager.seek(stream_id, caller.tenant)
        if stream is not None:
            self.check(caller, right, stream)
        return stream

    async def find(self, caller: Caller, after: After, right: Right) -> ActiveStream | None:
        """The stream that an event id belongs to, where `caller` has this right on it."""
        known = await self.manager.find(after, caller.tenant) if isinstance(after, EventId) else None
        return known if known is not None and self.may(caller, right, known) else None

    def channel(self, caller: Caller, name: str, right: Right) -> Channel:
        """A channel on which `caller` has this right; made where there is none."""
        channel = self.manager.channel(name, caller.tenant)
        self.check(caller, right, channel)
        return channel
