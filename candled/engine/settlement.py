"""What the exchange's klines decide about minutes in which no trade was seen. Pure: a state in, decisions out.

A kline without trades settles its minute as empty. A kline that counts trades nobody saw is another matter,
because the trades themselves may still be fetched. Let *before* be the highest id known before the first such
kline, *after* the lowest id known after the last one:

* *after* is known, and the minutes are not undecided: their trades are not to be had. Their klines are taken, and
  proven where their counts meet both ids.
* *after* is not known: the stream has been silent since. The kline says that ids up to *before* + its count exist.
  If any of them may still come, everything from there on waits for them.

A kline without trades waits as well while the minute right before it is passed over and not decided: trades there
would change the price that it repeats.

Decisions are made in order of time, and end where one has to wait for trades.
"""

from collections.abc import Callable, Collection, Mapping

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.domain.proof import assign_ids_by_count, counts_meet
from candled.engine.coverage import Around


@attrs.frozen(slots=True)
class Adopt:
    """Take this bar, made from a kline: its trades are not to be had."""

    bar: Bar


@attrs.frozen(slots=True)
class CloseEmpty:
    """There was no trade: emit a bar that repeats the close before it."""

    open_time: int
    price: int
    """What the kline states, for where the close before is not known."""


@attrs.frozen(slots=True)
class Skip:
    """The exchange has no kline: it was down, and there is no bar."""

    open_time: int


@attrs.frozen(slots=True)
class Wait:
    """Stop here: ids up to ``known_to`` exist and may still come; ``NO_TRADE``: nothing is known before them."""

    known_to: int


Decision = Adopt | CloseEmpty | Skip | Wait


def decide(
    klines: Mapping[int, Bar | None],
    unsettled: Collection[int],
    frontier: int,
    around: Callable[[int], Around],
    may_come: Callable[[int, int], bool],
    is_withheld: Callable[[int], bool],
) -> list[Decision]:
    """Decide about minutes, in order of time.

    Args:
        klines: The exchange's klines by open time; None where it has later ones but none of this minute.
        unsettled: Open times of those of them that are held or withheld and that no missing id may belong to.
        frontier: Open time of the first minute that is neither closed nor passed over: none after it is settled
            before it is.
        around: What is known around a minute.
        may_come: Whether any id of a range was neither seen nor given up.
        is_withheld: Whether a minute was passed over and is not decided yet.
    """
    unseen = [
        kline
        for open_time, kline in sorted(klines.items())
        if kline is not None and not kline.is_empty and open_time in unsettled
    ]
    before, after = NO_TRADE, None
    if unseen:
        before, after = around(unseen[0].open_time).id_before, around(unseen[-1].open_time).id_after
    known_to = before + sum(kline.trade_count for kline in unseen)
    waits = after is None and (before == NO_TRADE or may_come(before + 1, known_to))
    adopted = {bar.open_time: bar for bar in _adopted(unseen, before, after)}
    decisions: list[Decision] = []
    decided: set[int] = set()
    for open_time, kline in sorted(klines.items()):
        if open_time > frontier:
            break
        if open_time not in unsettled:
            continue
        if kline is None:
            decisions.append(Skip(open_time))
        elif kline.is_empty:
            before_it = open_time - MINUTE
            if before_it not in decided and is_withheld(before_it):
                continue
            decisions.append(CloseEmpty(open_time, kline.close))
        elif waits:
            decisions.append(Wait(known_to if before != NO_TRADE else NO_TRADE))
            break
        else:
            decisions.append(Adopt(adopted[open_time]))
        decided.add(open_time)
        if open_time == frontier:
            frontier = open_time + MINUTE
    return decisions


def _adopted(klines: list[Bar], before: int, after: int | None) -> list[Bar]:
    """Revisions made of klines whose trades are not to be had; with ids where the counts prove them."""
    if before != NO_TRADE and counts_meet(klines, before + 1, after):
        return [replace(bar, revision=1) for bar in assign_ids_by_count(klines, before + 1, complete=True)]
    return [
        replace(
            kline,
            first_trade_id=NO_TRADE,
            last_trade_id=NO_TRADE,
            previous_trade_id=before,
            closed=True,
            complete=False,
            revision=1,
        )
        for kline in klines
    ]
