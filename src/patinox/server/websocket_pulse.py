"""Signs of life: one timer for all WebSockets of a server, four beats an interval.

A socket that was silent for an interval is sent a ping; one that stays silent for another is taken for dead. What it
is sent meanwhile is no sign of life: a peer that has vanished takes bytes until the system's buffers are full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

_BEATS = 4
_A_TURN = 64  # sockets that are looked at before the loop is given back


class Peer(Protocol):
    """A socket as the pulse sees it. It sets `silent_beats` to 0 whenever it hears something."""

    silent_beats: int

    def ping(self) -> None:
        """Asks for a sign of life."""
        ...

    def give_up(self) -> None:
        """Ends the connection: the peer is dead."""
        ...


class Pulse:
    """Pings the silent among its peers every `interval_s`, and gives up the dead; 0 turns it off.

    The timer runs only while there are peers.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._peers: dict[Peer, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._round: Iterator[Peer] = iter(())

    def __repr__(self) -> str:
        return f"<Pulse {len(self._peers)} peers, every {self._interval_s} s>"

    def __len__(self) -> int:
        return len(self._peers)

    def join(self, peer: Peer) -> None:
        """Looks after a peer from now on."""
        if self._interval_s:
            self._peers[peer] = None
            if self._timer is None:
                self._wait(asyncio.get_running_loop())

    def leave(self, peer: Peer) -> None:
        """Forgets a peer. Idempotent."""
        self._peers.pop(peer, None)
        if not self._peers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """A quarter of an interval has passed."""
        self._round = iter(tuple(self._peers))
        self._go_round(loop)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._interval_s / _BEATS, self._beat_and_wait, loop)

    def _beat_and_wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wait(loop)
        self.beat(loop)

    def _go_round(self, loop: asyncio.AbstractEventLoop) -> None:
        for count, peer in enumerate(self._round, 1):
            if peer in self._peers:
                _look_after(peer)
            if count == _A_TURN:
                loop.call_soon(self._go_round, loop)
                return


def _look_after(peer: Peer) -> None:
    peer.silent_beats += 1
    if peer.silent_beats == _BEATS:
        peer.ping()
    elif peer.silent_beats >= 2 * _BEATS:
        peer.give_up()
