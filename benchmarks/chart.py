"""The picture: one panel of horizontal bars for each scenario, written as SVG by hand."""

from __future__ import annotations

from html import escape

from benchmarks.contestants import CONTESTANTS
from benchmarks.report import Report
from benchmarks.rounds import Result
from benchmarks.scenarios import SCENARIOS

WIDTH, MARGIN, LABELS, FIGURES = 860, 28, 210, 90
BAR, GAP, PANEL_HEAD, PANEL_FOOT, HEAD = 20, 8, 52, 22, 92
OURS, LIMIT, PEER = "#0f766e", "#a8a29e", "#b9c6d6"
INK, FAINT, PAPER, RULE = "#1c1917", "#78716c", "#fffdfa", "#e7e5e4"
STYLE = "font-family: ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def _text(
    x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _figure(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.1f}k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _colour(key: str) -> str:
    return LIMIT if key == "raw" else OURS if CONTESTANTS[key].ours else PEER


def _bar(key: str, value: float, longest: float, y: float) -> list[str]:
    room = WIDTH - 2 * MARGIN - LABELS - FIGURES
    length = max(2.0, room * value / longest) if longest else 2.0
    x, middle = MARGIN + LABELS, y + BAR * 0.7
    ours = CONTESTANTS[key].ours
    return [
        _text(x - 12, middle, CONTESTANTS[key].title, anchor="end", weight=600 if ours else 400),
        f'<rect x="{x}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" rx="3" fill="{_colour(key)}"/>',
        _text(x + length + 8, middle, _figure(value), colour=OURS if ours else FAINT, weight=600 if ours else 400),
    ]


def _values(result: Result) -> dict[str, float]:
    found = {key: outcome.medians.get(result.metric) for key, outcome in result.outcomes.items()}
    return {key: value for key, value in found.items() if value is not None}


def _panel(result: Result, values: dict[str, float], y: float) -> list[str]:
    scenario = next(s for s in SCENARIOS if s.letter == result.letter)
    better = "higher is better" if scenario.higher_is_better else "lower is better"
    parts = [
        f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{WIDTH - MARGIN}" y2="{y:.1f}" stroke="{RULE}"/>',
        _text(MARGIN, y + 26, result.title, size=15, weight=600),
        _text(WIDTH - MARGIN, y + 26, f"{result.label} · {better}", size=12, colour=FAINT, anchor="end"),
    ]
    ranked = sorted(values.items(), key=lambda pair: pair[1], reverse=scenario.higher_is_better)
    for number, (key, value) in enumerate(ranked):
        parts += _bar(key, value, max(values.values()), y + PANEL_HEAD - 8 + number * (BAR + GAP))
    return parts


def picture(done: Report) -> str:
    """Return the SVG of a run: scenarios without a figure are left out."""
    parts: list[str] = []
    y = float(HEAD)
    for result in done.results:
        if values := _values(result):
            parts += _panel(result, values, y)
            y += PANEL_HEAD + len(values) * (BAR + GAP) + PANEL_FOOT
    rounds = f"{'quick run' if done.quick else f'medians of up to {done.rounds} interleaved rounds'}"
    where = f"{done.machine.processor}, {done.machine.cores} cores, Python {done.machine.python}, {done.date[:10]}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" width="{WIDTH}" '
        f'height="{y:.0f}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{y:.0f}" fill="{PAPER}"/>',
        _text(MARGIN, 42, "Streaming servers side by side", size=22, weight=700),
        _text(
            MARGIN,
            66,
            f"One core for the server, one for the readers, 150-byte frames, loopback; {rounds}",
            colour=FAINT,
        ),
        _text(MARGIN, 83, where, size=11, colour=FAINT),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
