"""The limit of open files: raised at start, and too many connections for it are refused with a sentence."""

import resource
from typing import Any

import pytest

from patinox.server.listening import CouldNotStart
from patinox.server.run import raise_open_files


class Limits:
    """Limits of a process that may do what `setrlimit` lets it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.soft, self.hard

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        assert limits[1] == self.hard
        self.soft = limits[0]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Any:
    def limited(soft: int, hard: int) -> Limits:
        limits = Limits(soft, hard)
        monkeypatch.setattr(resource, "getrlimit", limits.get)
        monkeypatch.setattr(resource, "setrlimit", limits.set)
        return limits

    return limited


def test_the_soft_limit_is_raised_to_the_hard_one(limited: Any) -> None:
    limits = limited(1024, 20_000)
    raise_open_files(10_000)
    assert limits.soft == 20_000


def test_connections_beyond_the_hard_limit_are_refused_with_a_sentence(limited: Any) -> None:
    limited(1024, 4096)
    with pytest.raises(CouldNotStart, match=r"max_connections = 10000 needs 10256 open files.*may have 4096.*to 3840"):
        raise_open_files(10_000)


@pytest.mark.parametrize(("connections", "is_refused"), [(3840, False), (3841, True)])
def test_the_number_that_the_sentence_names_is_accepted(limited: Any, connections: int, is_refused: bool) -> None:
    limited(1024, 4096)
    if is_refused:
        with pytest.raises(CouldNotStart):
            raise_open_files(connections)
    else:
        raise_open_files(connections)


@pytest.mark.parametrize(("soft", "expected"), [(256, 10_256), (50_000, 50_000), (resource.RLIM_INFINITY, None)])
def test_without_a_hard_limit_it_is_what_is_needed(limited: Any, soft: int, expected: int | None) -> None:
    limits = limited(soft, resource.RLIM_INFINITY)
    raise_open_files(10_000)
    assert limits.soft == (soft if expected is None else expected)


def test_a_real_process_has_its_limit_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_open_files(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard or hard == resource.RLIM_INFINITY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_windows_has_no_such_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    raise_open_files(10**9)
