"""Horizontal bars as SVG: CPU time of each client."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

from benchmarks.peers.figures import Figures

WIDTH, LEFT, ROW = 760, 290, 22
OURS, OTHERS = "#1a9850", "#998ec3"


def chart(groups: Mapping[str, Mapping[str, Figures]]) -> str:
    """A group of bars for each way in which frames come; each group has its own scale."""
    parts = []
    y = 48
    for title, rows in groups.items():
        parts.append(f'<text x="10" y="{y}" font-weight="bold">frames {escape(title)}</text>')
        y += 10
        longest = max((row.median for row in rows.values() if not row.refused), default=1.0)
        for name, row in rows.items():
            parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
            if row.refused:
                parts.append(f'<text x="{LEFT}" y="{y + 14}">no figure</text>')
            else:
                width = row.median / longest * (WIDTH - LEFT - 70)
                colour = OURS if name.startswith("candled") else OTHERS
                parts.append(f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="14" fill="{colour}"/>')
                parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 14}">{row.median:.1f}</text>')
            y += ROW
        y += 26
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y - 16}" '
                'font-family="sans-serif" font-size="12">'
            ),
            '<rect width="100%" height="100%" fill="white"/>',
            (
                '<text x="10" y="22" font-size="13">CPU microseconds a frame; '
                "candled: to an encoded update, others: receive and decode</text>"
            ),
            *parts,
            "</svg>",
            "",
        ]
    )
