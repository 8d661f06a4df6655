"""`traceparent`: what is taken from it, and what is not."""

import pytest

from patinox.core.trace import TraceContext, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_says_trace_span_and_flags_and_is_said_the_same() -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert context == TraceContext(TRACE, SPAN, "01")
    assert context.header() == f"00-{TRACE}-{SPAN}-01"


def test_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-else") == TraceContext(TRACE, SPAN, "01")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 200,
    ],
)
def test_that_says_nothing_that_may_be_used_is_nothing(text: str) -> None:
    assert parse_traceparent(text) is None
