"""Tickets and grants: how a link, or an `EventSource`, reads one stream without carrying anybody's token.

    POST /v1/tickets ─▶ ticket ──GET …?ticket=──▶ grant, in a cookie for that path ──reconnects──▶ the same stream
                        30 s, one use              HttpOnly, SameSite=Strict, an hour

Both are signed (HMAC-SHA256, RFC 2104) and carry what they are for: reading one stream or channel, and nothing of what
else their maker may do. A ticket and a grant are signed under different names, so that neither passes for the other.
That a ticket has been used is known to the server that it was used on; servers that share a secret each allow one use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

from patinox.errors import LimitExceeded, Unauthenticated
from patinox.transports.access import Caller, Right

MAX_SPENT = 100_000

Kind = Literal["ticket", "grant"]


class Pass(msgspec.Struct, frozen=True, array_like=True):
    """What is signed. `subject` is whose it was made by; `until_s` when it ends, in seconds since 1970."""

    tenant: str
    subject: str
    stream: str
    channel: str
    until_s: float
    nonce: str

    def caller(self) -> Caller:
        """Who comes with it: somebody who may read this one thing."""
        streams, channels = ((self.stream,) if self.stream else ()), ((self.channel,) if self.channel else ())
        return Caller(self.tenant, "", frozenset({Right.READ}), streams, channels, self.until_s)


class Tickets:
    """Makes and takes them. `clock` gives Unix time in seconds."""

    def __init__(self, secret: bytes, *, ticket_s: float, grant_s: float, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._ticket_s = ticket_s
        self._grant_s = grant_s
        self._clock = clock
        self._spent: dict[str, float] = {}
        self._decoder = msgspec.json.Decoder(Pass)

    def __repr__(self) -> str:
        return f"<Tickets {len(self._spent)} spent>"

    def issue(self, caller: Caller, *, stream: str = "", channel: str = "") -> tuple[str, float]:
        """A ticket to read one stream or channel, and how many seconds it is good for."""
        until_s = self._bounded(self._clock() + self._ticket_s, caller)
        made = Pass(caller.tenant, caller.subject, stream, channel, until_s, secrets.token_urlsafe(12))
        return self._sign("ticket", made), until_s - self._clock()

    def redeem(self, text: str) -> tuple[Pass, str, float]:
        """Uses a ticket up: what it is for, the grant that it becomes, and for how many seconds that holds.

        Raises `Unauthenticated` for one that is not ours, has expired or was used.
        """
        ticket = self._read("ticket", text)
        now_s = self._clock()
        self._forget_expired(now_s)
        if ticket.nonce in self._spent:
            raise Unauthenticated("this ticket was used")
        if len(self._spent) >= MAX_SPENT:
            raise LimitExceeded("too many tickets at once; try again in a moment", retry_after_s=self._ticket_s)
        self._spent[ticket.nonce] = ticket.until_s
        grant = msgspec.structs.replace(ticket, until_s=now_s + self._grant_s, nonce=secrets.token_urlsafe(12))
        return grant, self._sign("grant", grant), self._grant_s

    def grant(self, text: str) -> Pass:
        """What a grant is for. Raises `Unauthenticated`."""
        return self._read("grant", text)

    def _bounded(self, until_s: float, caller: Caller) -> float:
        return until_s if caller.expires_s is None else min(until_s, caller.expires_s)

    def _forget_expired(self, now_s: float) -> None:
        for nonce, until_s in tuple(self._spent.items()):
            if until_s > now_s:
                break  # they were spent in about the order in which they expire
            del self._spent[nonce]

    def _sign(self, kind: Kind, made: Pass) -> str:
        body = base64.urlsafe_b64encode(msgspec.json.encode(made)).rstrip(b"=")
        return f"{body.decode()}.{self._mac(kind, body)}"

    def _read(self, kind: Kind, text: str) -> Pass:
        body, _, mac = text.partition(".")
        if not text.isascii() or not hmac.compare_digest(self._mac(kind, body.encode()), mac):
            raise Unauthenticated(f"this {kind} is not one of ours")
        try:
            found = self._decoder.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise Unauthenticated(f"this {kind} cannot be read") from error
        if found.until_s <= self._clock():
            raise Unauthenticated(f"this {kind} has expired")
        return found

    def _mac(self, kind: Kind, body: bytes) -> str:
        mac = hmac.digest(self._secret, kind.encode() + b"\0" + body, hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
