"""The door that asks: `Access` for a server where not everybody may come in."""

from __future__ import annotations

from patinox.errors import Unauthenticated
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.channels import Channel
from patinox.server.auth.credentials import GRANT_COOKIE, credential_of
from patinox.server.auth.identities import Identities
from patinox.server.quotas import Quotas
from patinox.transports.access import Access, Caller, Right, Scope, tenant_of
from patinox.transports.http import HEADERS

CALLER = "patinox.caller"
"""Under this key of a scope stands its caller, once that was asked for: a ticket is good for one asking."""


class Guard(Access):
    """Asks everybody, and counts what they ask for."""

    def __init__(self, manager: StreamManager, identities: Identities, quotas: Quotas) -> None:
        super().__init__(manager, clock=identities.clock)
        self.tickets = identities.tickets
        self._identities = identities
        self._quotas = quotas

    def __repr__(self) -> str:
        return f"<Guard {self._identities!r}>"

    async def caller(self, scope: Scope) -> Caller:
        """Who makes this request. Raises `Unauthenticated`, or `LimitExceeded` for whom asks too much."""
        if CALLER not in scope:
            scope[CALLER] = caller = await self._identify(scope)
            self.requested(caller)
        known: Caller = scope[CALLER]
        self.check_time(known)
        return known

    def may(self, caller: Caller, right: Right, subject: ActiveStream | Channel | None = None) -> bool:
        """The hook's word where it has one, within the tenant; else the rules'."""
        hook = self._identities.hook
        if hook is not None and (subject is None or tenant_of(subject) == caller.tenant):
            said = hook(caller, right, subject)
            if said is not None:
                return said
        return super().may(caller, right, subject)

    def requested(self, caller: Caller) -> None:
        """Counts a request, or a message of a socket. Raises `LimitExceeded`."""
        self._quotas.request("user", caller.tenant, caller.subject)
        self._quotas.request("tenant", caller.tenant)

    def received(self, caller: Caller, size_bytes: int) -> None:
        """Counts what a caller has sent. Raises `LimitExceeded`."""
        self._quotas.received(caller.tenant, caller.subject, size_bytes)

    async def _identify(self, scope: Scope) -> Caller:
        credential = credential_of(scope, self._identities.cookie)
        if credential is None:
            raise Unauthenticated("who asks? Send Authorization: Bearer and a token or a key")
        if credential.kind == "ticket":
            return self._redeem(credential.text, scope)
        if credential.kind == "grant":
            return self.tickets.grant(credential.text).caller()
        return await self._identities.bearer(credential.text)

    def _redeem(self, text: str, scope: Scope) -> Caller:
        grant, signed, seconds = self.tickets.redeem(text)
        # Only for the stream's own path, on which a browser's EventSource comes back.
        thing = f"streams/{grant.stream}" if grant.stream else f"channels/{grant.channel}"
        path = f"{scope.get('root_path', '')}/v1/{thing}"
        secure = "; Secure" if scope.get("scheme") in ("https", "wss") else ""
        cookie = f"{GRANT_COOKIE}={signed}; Path={path}; Max-Age={int(seconds)}; HttpOnly; SameSite=Strict{secure}"
        scope.setdefault(HEADERS, []).append((b"set-cookie", cookie.encode("latin-1")))
        return grant.caller()
