"""Bars and events for the tests of the bus."""

from msgspec.structs import replace

from candled.domain.event import UPDATE, BarEvent, BarEventKind
from tests.bus.simulation import bar_of


def update(minute: int, known: int) -> BarEvent:
    """An update of a minute that knows ``known`` trades."""
    return BarEvent(UPDATE, bar_of(minute, known, 100, closed=False), 5)


def close(minute: int, known: int = 3, *, total: int = 3, revision: int = 0, position: int = 0) -> BarEvent:
    """A closed bar that knows ``known`` of ``total`` trades; complete if it knows all."""
    bar = replace(bar_of(minute, known, total, closed=True), revision=revision)
    return BarEvent(BarEventKind.REVISION if revision else BarEventKind.CLOSE, bar, 5, position)
