"""Figures of several programs that took turns, and the table that they make."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

NAME_WIDTH: Final = 44


@attrs.frozen
class Figures:
    """What one program took in each round, beside what candled took in the same round."""

    taken: list[float]
    """CPU time in the unit of the table."""
    reference: list[float]
    refused: str = ""
    """Why there are no figures."""

    @property
    def median(self) -> float:
        return statistics.median(self.taken)

    @property
    def ratio(self) -> float:
        """Time of it divided by candled's, the median of all rounds: below 1 it needs less."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.taken, self.reference, strict=True))


def table(title: str, rows: Mapping[str, Figures], per_second: str = "") -> list[str]:
    """Lines of a table; ``per_second`` heads a column of how many of a million units' work a CPU second does."""
    heads = ("min", "median", "max", *([per_second] if per_second else []), "/ candled")
    lines = ["", title, " " * NAME_WIDTH + "".join(f"{head:>14}" for head in heads)]
    for name, row in rows.items():
        if row.refused:
            lines.append(f"{name:{NAME_WIDTH}}  refused: {row.refused}")
            continue
        values = [f"{value:>14.2f}" for value in (min(row.taken), row.median, max(row.taken))]
        if per_second:
            values.append(f"{1e6 / row.median:>14,.0f}")
        lines.append(f"{name:{NAME_WIDTH}}{''.join(values)}{row.ratio:>14.2f}")
    return lines


def gathered(rounds: Sequence[Mapping[str, float | str]], references: Mapping[str, str]) -> dict[str, Figures]:
    """Figures by name from what each round gave; a text is the reason for a refusal.

    Args:
        rounds: by name, the time or the reason of each program.
        references: by name, the program of candled that it is compared with.
    """
    figures = {}
    for name, reference in references.items():
        reasons = [each[part] for each in rounds for part in (name, reference) if isinstance(each[part], str)]
        if reasons:
            figures[name] = Figures([], [], str(reasons[0]))
        else:
            taken, theirs = ([float(each[part]) for each in rounds] for part in (name, reference))
            figures[name] = Figures(taken, theirs)
    return figures
