"""A grouped bar chart as SVG, without a plotting library."""

from collections.abc import Mapping

COLOURS = ("#1a9850", "#91cf60", "#998ec3", "#f1a340", "#888888")
BAR, GAP, HEIGHT, LEFT, TOP = 34, 46, 260, 30, 60


def bar_chart(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Groups of bars side by side, each with its value; bars of one group share a scale."""
    names = list(next(iter(groups.values())))
    step = len(names) * BAR + GAP
    width = LEFT * 2 + step * len(groups)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + TOP + 60}" '
            'font-family="sans-serif" font-size="11">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="13">{title}</text>',
    ]
    for index, name in enumerate(names):
        x = LEFT + index * 100
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS[index]}"/>')
        parts.append(f'<text x="{x + 14}" y="39">{name}</text>')
    for number, (group, values) in enumerate(groups.items()):
        left, scale = LEFT + number * step, HEIGHT / max(values.values())
        for index, value in enumerate(values.values()):
            x, height = left + index * BAR, value * scale
            y = TOP + HEIGHT - height
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="{BAR - 4}" height="{height:.1f}" fill="{COLOURS[index]}"/>'
            )
            parts.append(f'<text x="{x + BAR / 2 - 2}" y="{y - 4:.1f}" text-anchor="middle">{value:.0f}</text>')
        parts.append(
            f'<text x="{left + len(names) * BAR / 2}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{group}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
