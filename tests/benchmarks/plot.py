"""Results as a picture: a group of bars for each load, written as SVG by hand."""

from __future__ import annotations

from xml.sax.saxutils import escape

from tests.benchmarks.loads import LOADS
from tests.benchmarks.peers import ALL
from tests.benchmarks.results import OURS, Results

WIDTH, LEFT, RIGHT = 860, 270, 90
BAR, GAP, TOP = 13, 14, 64
TITLE = "Messages a second; the bars of a load are drawn by its fastest"
COLORS = {peer.name: peer.color for peer in ALL}


def plot(results: Results) -> str:
    """Each bar is a rate; within a load they are drawn by its fastest, as loads differ by thousands."""
    y = TOP
    body: list[str] = []
    for load in LOADS:
        rates = {peer: results.median(load.name, peer) for peer in results.versions}
        found = {peer: rate for peer, rate in rates.items() if rate is not None}
        if found:
            body += _group(load.title, found, y)
            y += BAR * len(found) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" '
            'font-size="11">',
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
            f'<text x="12" y="22" font-size="15">{TITLE}</text>',
            *_legend(
                [peer for peer in results.versions if any(peer in by for by in results.samples.values())]
            ),
            *body,
            "</svg>\n",
        ]
    )


def _legend(peers: list[str]) -> list[str]:
    parts, x = [], 12
    for peer in peers:
        parts.append(f'<rect x="{x}" y="36" width="10" height="10" fill="{COLORS[peer]}"/>')
        parts.append(f'<text x="{x + 14}" y="45">{escape(peer)}</text>')
        x += 40 + 6 * len(peer)
    return parts


def _group(title: str, rates: dict[str, float], y: int) -> list[str]:
    middle = y + BAR * len(rates) / 2 + 4
    parts = [f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>']
    fastest = max(rates.values())
    for number, (peer, rate) in enumerate(rates.items()):
        width = (WIDTH - LEFT - RIGHT) * rate / fastest
        top = y + BAR * number
        weight = ' font-weight="bold"' if peer == OURS else ""
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{COLORS[peer]}"/>'
        )
        text = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{top + 10}"{weight}>{text}</text>')
    return parts
