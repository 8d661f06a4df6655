"""Idempotent producers: what is known, missing, or written by somebody who was replaced."""

import pytest

from patinox.core.producers import MAX_PRODUCERS, Producer, ProducerLedger, parse_producer
from patinox.errors import InputError, ProducerFenced, ProducerGap


def appended(ledger: ProducerLedger, producer: Producer) -> bool:
    """Appends where it is new, as a stream does."""
    if ledger.is_known(producer):
        return False
    ledger.appended(producer)
    return True


def test_a_chunk_sent_again_is_known() -> None:
    ledger = ProducerLedger()
    assert [appended(ledger, Producer("p", 0, seq)) for seq in (0, 1, 0, 1, 2, 2)] == [True, True] + [False] * 2 + [
        True,
        False,
    ]


def test_a_hole_is_refused_and_named() -> None:
    ledger = ProducerLedger()
    ledger.appended(Producer("p", 0, 4))
    with pytest.raises(ProducerGap) as refusal:
        ledger.is_known(Producer("p", 0, 6))
    assert refusal.value.expected == 5
    assert refusal.value.as_dict()["expected"] == 5


def test_an_unknown_producer_begins_at_zero() -> None:
    with pytest.raises(ProducerGap):
        ProducerLedger().is_known(Producer("p", 0, 1))


def test_a_newer_epoch_begins_at_zero_and_fences_the_older() -> None:
    ledger = ProducerLedger()
    ledger.appended(Producer("p", 1, 7))
    with pytest.raises(ProducerGap):
        ledger.is_known(Producer("p", 2, 8))
    assert appended(ledger, Producer("p", 2, 0))
    with pytest.raises(ProducerFenced):
        ledger.is_known(Producer("p", 1, 8))


def test_a_newer_epoch_that_only_asked_fences_nobody() -> None:
    ledger = ProducerLedger()
    ledger.appended(Producer("p", 1, 0))
    assert not ledger.is_known(Producer("p", 2, 0))
    assert ledger.is_known(Producer("p", 1, 0))


def test_producers_do_not_know_of_each_other() -> None:
    ledger = ProducerLedger()
    ledger.appended(Producer("p", 5, 9))
    assert appended(ledger, Producer("q", 0, 0))


def test_the_longest_silent_of_too_many_producers_is_forgotten() -> None:
    ledger = ProducerLedger()
    for number in range(MAX_PRODUCERS):
        ledger.appended(Producer(f"p{number}", 0, 0))
    ledger.appended(Producer("p0", 0, 1))
    ledger.appended(Producer("one more", 0, 0))
    assert ledger.is_known(Producer("p0", 0, 1))
    assert not ledger.is_known(Producer("p1", 0, 0))
    assert repr(ledger).count("p") > MAX_PRODUCERS - 2


@pytest.mark.parametrize(
    ("headers", "producer"),
    [((None, None, None), None), (("p", None, None), Producer("p")), (("p", "", ""), Producer("p")),
     (("p", "3", "14"), Producer("p", 3, 14)), (("p" * 128, "0", "0"), Producer("p" * 128))],
)  # fmt: skip
def test_headers_are_read(headers: tuple[str | None, str | None, str | None], producer: Producer | None) -> None:
    assert parse_producer(*headers) == producer


@pytest.mark.parametrize(
    "headers",
    [(None, "1", None), (None, None, "1"), ("", "0", "0"), ("p" * 129, "0", "0"), ("p", "-1", "0"), ("p", "0", "1.5"),
     ("p", "0", "١"), ("p", "x", "0"), ("p", "0", "1" * 19)],
)  # fmt: skip
def test_headers_that_make_no_sense_are_refused(headers: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(InputError):
        parse_producer(*headers)
