"""Ten thousand seeded cases for the release frontier; `make frontier` runs a million of the same kind."""

import pytest
from tests.properties.frontier_cases import MARK, SECRETS, check_all, without


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 250))
def test_no_cut_makes_a_difference_and_all_but_the_secrets_leaves(first: int) -> None:
    assert check_all(first) == 250


@pytest.mark.parametrize("secret", SECRETS)
def test_what_must_leave_holds_no_secret(secret: str) -> None:
    assert without(f"a ; {secret} ; b") == f"a ; {'GB' if secret.startswith('GB') else ''}{MARK} ; b"
