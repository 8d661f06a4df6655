"""Tickets are good for one use and grants for one thing, for a while, and neither passes for the other."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.errors import LimitExceeded, Unauthenticated
from patinox.server.auth import tickets as module
from patinox.server.auth.tickets import Tickets
from patinox.testing.fakes import ManualClock
from patinox.transports.access import USER, Caller, Right

MAKER = Caller("acme", "ada", USER, ("*",), ("*",))


def tickets(clock: ManualClock, secret: bytes = b"s" * 32) -> Tickets:
    return Tickets(secret, ticket_s=30, grant_s=3600, clock=clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_ticket_lets_in_to_read_one_stream_and_nothing_else(clock: ManualClock) -> None:
    ours = tickets(clock)
    ticket, seconds = ours.issue(MAKER, stream="s")
    grant, _, _ = ours.redeem(ticket)
    assert seconds == 30
    assert grant.caller() == Caller("acme", "", frozenset({Right.READ}), ("s",), (), clock() + 3600)


def test_a_ticket_for_a_channel_is_for_that_channel(clock: ManualClock) -> None:
    ours = tickets(clock)
    grant, _, _ = ours.redeem(ours.issue(MAKER, channel="c")[0])
    assert (grant.caller().streams, grant.caller().channels) == ((), ("c",))


def test_a_ticket_is_good_once(clock: ManualClock) -> None:
    ours = tickets(clock)
    ticket, _ = ours.issue(MAKER, stream="s")
    ours.redeem(ticket)
    with pytest.raises(Unauthenticated, match="was used"):
        ours.redeem(ticket)


def test_a_ticket_expires(clock: ManualClock) -> None:
    ours = tickets(clock)
    ticket, _ = ours.issue(MAKER, stream="s")
    clock.now_s += 30
    with pytest.raises(Unauthenticated, match="expired"):
        ours.redeem(ticket)


def test_a_ticket_lasts_no_longer_than_what_its_maker_came_with(clock: ManualClock) -> None:
    ours = tickets(clock)
    _, seconds = ours.issue(msgspec.structs.replace(MAKER, expires_s=clock() + 5), stream="s")
    assert seconds == 5


def test_a_grant_is_good_again_and_again_until_it_expires(clock: ManualClock) -> None:
    ours = tickets(clock)
    _, grant, seconds = ours.redeem(ours.issue(MAKER, stream="s")[0])
    clock.now_s += seconds - 1
    assert ours.grant(grant) == ours.grant(grant)
    clock.now_s += 1
    with pytest.raises(Unauthenticated, match="expired"):
        ours.grant(grant)


def test_a_ticket_is_no_grant_and_a_grant_no_ticket(clock: ManualClock) -> None:
    ours = tickets(clock)
    ticket, _ = ours.issue(MAKER, stream="s")
    with pytest.raises(Unauthenticated, match="not one of ours"):
        ours.grant(ticket)
    _, grant, _ = ours.redeem(ticket)
    with pytest.raises(Unauthenticated, match="not one of ours"):
        ours.redeem(grant)


def test_another_servers_ticket_is_refused(clock: ManualClock) -> None:
    ticket, _ = tickets(clock, b"o" * 32).issue(MAKER, stream="s")
    with pytest.raises(Unauthenticated, match="not one of ours"):
        tickets(clock).redeem(ticket)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_ticket_is_refused(place: int, by: int) -> None:
    ours = tickets(ManualClock())
    ticket, _ = ours.issue(MAKER, stream="s")
    data = bytearray(ticket.encode())
    data[place % len(data)] = (data[place % len(data)] + by) % 256
    with pytest.raises(Unauthenticated):
        ours.redeem(data.decode("latin-1"))


@given(st.text(max_size=200))
def test_anything_else_is_refused_too(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tickets(ManualClock()).redeem(text)


def test_a_signed_ticket_that_cannot_be_read_is_refused(clock: ManualClock) -> None:
    ours = tickets(clock)
    body = base64.urlsafe_b64encode(b"[]").rstrip(b"=")
    with pytest.raises(Unauthenticated, match="cannot be read"):
        ours.redeem(f"{body.decode()}.{ours._mac('ticket', body)}")


def test_used_tickets_are_remembered_until_they_expire_and_no_more_than_a_bound(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SPENT", 2)
    ours = tickets(clock)
    for _ in range(2):
        ours.redeem(ours.issue(MAKER, stream="s")[0])
    with pytest.raises(LimitExceeded):
        ours.redeem(ours.issue(MAKER, stream="s")[0])
    clock.now_s += 30
    ours.redeem(ours.issue(MAKER, stream="s")[0])
    assert repr(ours) == "<Tickets 1 spent>"
