"""Where a request says who makes it, and where it must not."""

from typing import Any

import pytest

from patinox.errors import Unauthenticated
from patinox.server.auth.credentials import MAX_CREDENTIAL, Credential, credential_of


def scope(*headers: tuple[str, str], query: str = "", subprotocols: list[str] | None = None) -> dict[str, Any]:
    return {
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "query_string": query.encode(),
        "subprotocols": subprotocols or [],
    }


def test_nothing_is_shown_by_a_plain_request() -> None:
    assert credential_of(scope(), "session") is None


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER   abc "])
def test_a_bearer_token_is_read_whatever_its_case(value: str) -> None:
    assert credential_of(scope(("Authorization", value))) == Credential("bearer", "abc")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", "abc"])
def test_another_scheme_is_refused_and_not_passed_over(value: str) -> None:
    with pytest.raises(Unauthenticated, match="Bearer TOKEN"):
        credential_of(scope(("Authorization", value)))


def test_two_authorizations_are_refused() -> None:
    with pytest.raises(Unauthenticated, match="once"):
        credential_of(scope(("Authorization", "Bearer a"), ("Authorization", "Bearer b")))


@pytest.mark.parametrize("name", ["token", "access_token", "api_key"])
def test_a_token_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated, match="must not stand in a URL"):
        credential_of(scope(("Authorization", "Bearer a"), query=f"{name}=abc"))


def test_a_subprotocol_may_carry_a_token() -> None:
    offered = ["patinox.v1", "patinox.token.abc"]
    assert credential_of(scope(subprotocols=offered)) == Credential("bearer", "abc")


def test_two_tokens_among_the_subprotocols_are_refused() -> None:
    with pytest.raises(Unauthenticated, match="once"):
        credential_of(scope(subprotocols=["patinox.token.a", "patinox.token.b"]))


def test_a_ticket_stands_in_the_query() -> None:
    assert credential_of(scope(query="after=now&ticket=t.m")) == Credential("ticket", "t.m")


def test_two_tickets_are_refused() -> None:
    with pytest.raises(Unauthenticated, match="one ticket"):
        credential_of(scope(query="ticket=a&ticket=b"))


def test_a_grant_is_taken_before_a_session_cookie() -> None:
    cookies = ("Cookie", "session=s; patinox_grant=g; other=o")
    assert credential_of(scope(cookies), "session") == Credential("grant", "g")


def test_a_session_cookie_is_taken_only_where_one_is_named() -> None:
    cookies = ("Cookie", "session=s")
    assert credential_of(scope(cookies), "session") == Credential("cookie", "s")
    assert credential_of(scope(cookies), "") is None


def test_the_first_of_two_cookies_counts() -> None:
    assert credential_of(scope(("Cookie", "s=one; s=two")), "s") == Credential("cookie", "one")


def test_a_header_is_taken_before_a_ticket_and_a_cookie() -> None:
    shown = scope(("Authorization", "Bearer a"), ("Cookie", "patinox_grant=g"), query="ticket=t")
    assert credential_of(shown) == Credential("bearer", "a")


def test_an_enormous_credential_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="at most"):
        credential_of(scope(("Authorization", "Bearer " + "a" * (MAX_CREDENTIAL + 1))))
