"""How a symbol continues from its stored bars after a restart. Pure: bars in, a plan out.

The bars are consecutive ones, oldest first: from the oldest that is to be rebuilt up to the newest. With none to
rebuild, the newest alone is enough. What the plan says of them:

* A bar that is not complete is *rebuilt* from its trades: its ids count as not seen. So is one whose ids
  interleave with those of a bar that is rebuilt, as ids are forgotten by range.
* A complete bar beside one that is rebuilt or not there, and the newest, is *resumed*: trades and proofs of its
  neighbours need its ids, and late trades may still come. Other complete bars stay out of memory; of them only the
  ids are known (``known_before``).
* A minute between two bars that is not there is *withheld* until it is decided.
* Bars before trade ids were reset are of no concern: what came after is counted by other ids.
* Ids between what one bar knows and what the next one says came before it are not seen: a crash may have lost the
  bars that held them.
"""

from collections.abc import Collection, Sequence

import attrs

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.limits import TRADE_ID_MAX
from candled.engine.id_watch import FILLED_MAX


@attrs.frozen(slots=True, kw_only=True)
class RestorePlan:
    """What to do with stored bars. Times are open times, microseconds since the epoch."""

    floor: int
    """Lowest id of concern."""
    horizon: int
    """Highest id known to exist; all from the floor on count as seen but for ``unseen``."""
    unseen: tuple[tuple[int, int], ...]
    """Ranges of ids to be fetched, in the order in which they are to be forgotten."""
    wanted_start: int | None
    """The first minute ever, where the trade before it is not known."""
    origin: int
    end: int
    """Close time of the newest bar."""
    id_before: int
    close_before: int | None
    """Of the trade before the first bar: only an empty bar repeats it."""
    withheld: tuple[tuple[int, int], ...]
    """Runs of minutes that are not there, by first and last open time."""
    known_before: tuple[tuple[int, int], ...]
    """A minute, and the highest id known before it."""
    rebuilt: tuple[Bar, ...]
    resumed: tuple[Bar, ...]


def plan_restore(bars: Sequence[Bar]) -> RestorePlan:
    """Plan how to continue from these bars.

    Args:
        bars: Stored closed bars of one symbol, oldest first; at least one.
    """
    bars = of_newest_epoch(bars)
    first, newest = bars[0], bars[-1]
    floor, wanted_start = first.previous_trade_id, None
    if floor == NO_TRADE:
        floor = max(first.first_trade_id, 0)
        wanted_start = None if first.complete else first.open_time
    unseen, withheld, known_before = [], [], []
    rebuilt, resumed = [], []
    to_rebuild = _to_rebuild(bars)
    close_time, known = first.open_time, first.previous_trade_id
    for number, bar in enumerate(bars):
        if close_time < bar.open_time:
            withheld.append((close_time, bar.open_time - MINUTE))
        unseen.append((known + 1, bar.previous_trade_id))
        before = max(known, bar.previous_trade_id)
        known_before.append((bar.open_time, last_id_before(bar, before)))
        if number in to_rebuild:
            rebuilt.append(bar)
            # What it says of the id before it may be older than what those before it say.
            first_id = before + 1 if bar.first_trade_id == NO_TRADE else min(before + 1, bar.first_trade_id)
            unseen.append((first_id, bar.last_trade_id))
        elif _is_beside_a_hole(bars, number, to_rebuild):
            resumed.append(bar)
        close_time, known = bar.close_time, max(known, bar.known_trade_id)
    return RestorePlan(
        floor=floor,
        horizon=newest.known_trade_id,
        unseen=tuple((low, high) for low, high in unseen if low <= high),
        wanted_start=wanted_start,
        origin=first.open_time,
        end=newest.close_time,
        id_before=first.previous_trade_id,
        close_before=first.open if first.is_empty else None,
        withheld=tuple(withheld),
        known_before=tuple(known_before),
        rebuilt=tuple(rebuilt),
        resumed=tuple(resumed),
    )


def of_newest_epoch(bars: Sequence[Bar]) -> Sequence[Bar]:
    """Return the newest of consecutive bars, oldest first, whose trade ids belong together."""
    later: Bar | None = None
    for number in range(len(bars) - 1, -1, -1):
        bar = bars[number]
        if bar.first_trade_id == NO_TRADE:
            continue  # empty, or made of a kline that no ids prove
        if later is not None and _is_reset(bar, later):
            return bars[number + 1 :]
        later = bar
    return bars


def _is_reset(before: Bar, after: Bar) -> bool:
    """Whether the ids of a traded bar cannot follow those of an earlier one: they are lower, or far higher."""
    is_lower = max(after.last_trade_id, after.previous_trade_id) < before.first_trade_id
    return is_lower or after.first_trade_id > before.last_trade_id + FILLED_MAX


def last_id_before(bar: Bar, known: int) -> int:
    """The highest id before a stored bar, as far as is known: not one of its own."""
    return known if bar.is_empty else min(known, bar.first_trade_id - 1)


def _to_rebuild(bars: Sequence[Bar]) -> set[int]:
    """Numbers of the bars that are not complete, and of those whose ids interleave with theirs."""
    found = {number for number, bar in enumerate(bars) if not bar.complete}
    traded = [(number, bar) for number, bar in enumerate(bars) if bar.first_trade_id != NO_TRADE]
    size = -1
    while size != len(found):
        size, highest = len(found), NO_TRADE
        for number, bar in traded:
            if number in found or bar.first_trade_id <= highest:
                found.add(number)
                highest = max(highest, bar.last_trade_id)
        lowest = TRADE_ID_MAX
        for number, bar in reversed(traded):
            if number in found or bar.last_trade_id >= lowest:
                found.add(number)
                lowest = min(lowest, bar.first_trade_id)
    return found


def _is_beside_a_hole(bars: Sequence[Bar], number: int, to_rebuild: Collection[int]) -> bool:
    """Whether a bar is next to one that is to be rebuilt or is not there, or is the newest."""
    if number == len(bars) - 1:
        return True
    if number + 1 in to_rebuild or bars[number + 1].open_time > bars[number].close_time:
        return True
    return number > 0 and (number - 1 in to_rebuild or bars[number - 1].close_time < bars[number].open_time)
