"""The one door that every transport goes through: who asks, and what of it they may have.

    request ─▶ caller (who, of which tenant) ─▶ open(stream, right) ─▶ the stream, or `StreamNotFound`

    an own stream        what the caller's rights say
    a named one          the same: `streams` and `channels` name what others made, by id or as `prefix*`
    of a named channel   reading
    any other            as if it were not there, like one that is unknown, was deleted, or is another tenant's

Here nobody is asked, as on a loopback address: everybody is `ANYBODY`, who may everything. `server/auth` has the door
that asks. An application that mounts Patinox says who its callers are by overriding `caller`, and may refine `may`.
Whatever a transport serves, it serves through `enter`, `create`, `open`, `seek`, `find` and `channel`, so that one set
of rules holds for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any

import msgspec

from patinox.core.attach import After
from patinox.core.chunks import EventId
from patinox.errors import Forbidden, StreamExists, StreamGone, StreamNotFound, Unauthenticated
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.admission import Account
from patinox.manager.channels import Channel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]


class Right(StrEnum):
    """What one may do: with a stream or a channel, and (`create`, `models`) without one. `admin` is all of it."""

    READ = "read"
    WRITE = "write"
    CANCEL = "cancel"
    DELETE = "delete"
    CREATE = "create"
    MODELS = "models"
    ADMIN = "admin"


USER = frozenset(Right) - {Right.ADMIN}
"""What somebody may do who is known, where nothing else is said."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `subject` is empty for somebody whom nobody asked for a name.

    `streams` and `channels` name what others made and this caller may have, by id or as `prefix*`. `expires_s` is when
    that ends, in seconds since 1970.
    """

    tenant: str = ""
    subject: str = ""
    rights: frozenset[Right] = USER
    streams: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    expires_s: float | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may everything in its tenant."""
        return Right.ADMIN in self.rights


ANYBODY = Caller(rights=frozenset(Right))


class Access:
    """Lets everybody in, everywhere. `clock` gives Unix time in seconds."""

    def __init__(self, manager: StreamManager, *, clock: Callable[[], float] = time.time) -> None:
        self.manager = manager
        self.clock = clock

    async def caller(self, scope: Scope) -> Caller:
        """Who makes this request (an ASGI scope). Raises `Unauthenticated` where that cannot be told."""
        return ANYBODY

    def may(self, caller: Caller, right: Right, subject: ActiveStream | Channel | None = None) -> bool:
        """Whether `caller` has this right on a stream or a channel, or without one."""
        return permits(caller, right, subject)

    def check(self, caller: Caller, right: Right, subject: ActiveStream | Channel | None = None) -> None:
        """Raises where `may` says no, in the words in which what does not exist is told; or where `caller` expired."""
        self.check_time(caller)
        if self.may(caller, right, subject):
            return
        if subject is None:
            raise Forbidden(f"this caller may not {right}")
        raise unknown(subject.id)

    def check_time(self, caller: Caller) -> None:
        """Raises `Unauthenticated` once what `caller` was let in by has expired."""
        if caller.expires_s is not None and self.clock() >= caller.expires_s:
            raise Unauthenticated("the credential has expired")

    def requested(self, caller: Caller) -> None:
        """Told of each message of a caller's socket. Raises `LimitExceeded` for one that is too much."""

    def received(self, caller: Caller, size_bytes: int) -> None:
        """Told of what a caller has sent to be written. Raises `LimitExceeded` where that is too much."""

    def metered(self, caller: Caller, receive: Receive) -> Receive:
        """An ASGI `receive` whose messages are counted, and which raises once `caller` has expired."""

        async def counted() -> Scope:
            message = await receive()
            self.check_time(caller)
            self.received(caller, len(message.get("body", b"")))
            return message

        return counted

    def time_left_s(self, caller: Caller) -> float | None:
        """For how long `caller` may stay; None for as long as it likes."""
        return None if caller.expires_s is None else max(0.0, caller.expires_s - self.clock())

    async def enter(self, scope: Scope, right: Right) -> Caller:
        """Who makes a request that needs a right on no stream in particular."""
        caller = await self.caller(scope)
        self.check(caller, right)
        return caller

    async def create(self, caller: Caller, right: Right = Right.CREATE, **options: Any) -> ActiveStream:
        """A new stream of the caller's, for whom has this `right`; takes what `StreamManager.create` takes.

        An id that is taken by a stream that the caller may not know of is answered like one that is unknown.
        """
        self.check(caller, right)
        if options.get("channel") is not None:
            self.channel(caller, options["channel"], Right.WRITE)
        try:
            return await self.manager.create(**options, tenant=caller.tenant, owner=caller.subject)
        except StreamExists:
            await self.open(caller, options["id"], Right.READ)
            raise

    async def open(self, caller: Caller, stream_id: str, right: Right) -> ActiveStream:
        """A stream on which `caller` has this right. Raises `StreamNotFound`, or `StreamGone` to whom may know."""
        try:
            stream = await self.manager.open(stream_id, caller.tenant)
        except StreamGone:
            if caller.is_admin or is_named(stream_id, caller.streams):
                raise
            raise unknown(stream_id) from None
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
        known = self.manager.channels.find(name, caller.tenant)
        if known is None and not self.may_name(caller, name):
            raise unknown(name)
        channel = known if known is not None else self.manager.channel(name, caller.tenant)
        self.check(caller, right, channel)
        return channel

    def may_name(self, caller: Caller, name: str) -> bool:
        """Whether a channel of this name may come to be because `caller` asks for it."""
        return caller.is_admin or is_named(name, caller.channels)


def permits(caller: Caller, right: Right, subject: ActiveStream | Channel | None) -> bool:
    """The rules, as the head of this file has them."""
    if subject is not None and tenant_of(subject) != caller.tenant:
        return False
    if caller.is_admin:
        return True
    if right not in caller.rights:
        return False
    if subject is None:
        return True
    if isinstance(subject, Channel):
        return is_named(subject.id, caller.channels)
    if (caller.subject and subject.owner == caller.subject) or is_named(subject.id, caller.streams):
        return True
    return right is Right.READ and subject.channel is not None and is_named(subject.channel, caller.channels)


def is_named(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is this name, or `prefix*` with which it begins."""
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


def unknown(name: str) -> StreamNotFound:
    """What is said of a stream or channel that is not there, or that somebody may not know of."""
    return StreamNotFound(f"there is no stream {name[:140]!r}")


def account_of(caller: Caller, address: str) -> Account:
    """On whose account it is what `caller` does from a network address."""
    return Account(address, caller.tenant, caller.subject)


def tenant_of(subject: ActiveStream | Channel) -> str:
    """Whose a stream or a channel is."""
    return subject.tenant if isinstance(subject, Channel) else subject.key.tenant
