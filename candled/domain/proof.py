"""Prove by trade ids that bars are complete. No other module decides it.

Trade ids of a symbol are contiguous, so a bar is complete when every id is accounted for from the trade before it
to the trade after it. Placeholders (price or quantity 0) take ids and add nothing: they count as seen. Stream,
REST repair, backfill and archive differ in how ids arrive; what follows from the ids is decided here.

Two kinds of evidence exist:

* *Ids of trades* (``is_proven``, ``prove_traded``): the set of ids seen, and the nearest ids known of the minutes
  before and after. Two neighbours whose times interleave (a trade with a higher id and an earlier time) are proven
  by the ids around both.
* *Counts of klines* (``counts_meet``, ``assign_ids_by_count``, ``prove_run``): a kline has no ids, but states its
  number of trades. Counted on from the id before a run of consecutive klines, they must meet the id after
  it. A trade missing on either side could only widen the distance, so where they meet, none is missing.

This module does not know where ids come from and guesses nothing: an unknown id on either side proves nothing.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.id_ranges import IdRanges


def is_proven(
    seen: IdRanges, id_before: int, id_after: int | None, first_id: int = NO_TRADE, last_id: int = NO_TRADE
) -> bool:
    """Decide whether no trade of a minute can be missing.

    Args:
        seen: Ids that were seen, placeholders included.
        id_before: An id of the nearest trade known before the minute; ``NO_TRADE`` if none is known.
        id_after: An id of the nearest trade known after the minute; None if none is known.
        first_id: Lowest id of the minute's own trades; ``NO_TRADE`` if it has none.
        last_id: Highest id of the minute's own trades; ``NO_TRADE`` if it has none.

    Returns:
        True if every id from the trade before to the trade after was seen. Where times and ids disagree, the ids
        right beside the minute's own are needed too, unless its last is the newest of all and one from within
        them is known after it. Nothing comes before id 0.
    """
    if id_after is None or seen.last is None:
        return False
    if first_id == NO_TRADE:
        return id_before != NO_TRADE and seen.covers(min(id_before, id_after), max(id_before, id_after))
    if id_before == NO_TRADE and first_id > 0:
        return False
    if id_after < first_id and last_id >= seen.last:
        return False  # lower ids come later: they were reset, or the next is not known yet
    return seen.covers(
        min(id_before, first_id - 1) if first_id > 0 else 0, max(id_after, min(last_id + 1, seen.last))
    )


def prove_traded(bars: Sequence[Bar], seen: IdRanges, id_before: int, id_after: int | None) -> list[Bar]:
    """Decide for bars made of trades which of them are complete.

    Args:
        bars: Bars of one symbol, oldest first, with the ids of their trades, ``NO_TRADE`` in empty ones.
        seen: Ids that were seen, placeholders and those around the bars included.
        id_before: Highest id known before the first bar; ``NO_TRADE`` if none is.
        id_after: Lowest id known after the last bar; None if none is.

    Returns:
        The bars with ``previous_trade_id`` and ``complete`` set. A bar that counts trades without having their ids
        is not complete, whatever was seen around it.
    """
    after: list[int | None] = []
    for bar in reversed(bars):
        after.append(id_after)
        if bar.first_trade_id != NO_TRADE:
            id_after = bar.first_trade_id
    proven = []
    for bar, known_after in zip(bars, reversed(after), strict=True):
        complete = is_proven(seen, id_before, known_after, bar.first_trade_id, bar.last_trade_id)
        if not bar.is_empty and bar.first_trade_id == NO_TRADE:
            complete = False
        proven.append(replace(bar, previous_trade_id=id_before, complete=complete))
        if bar.last_trade_id != NO_TRADE:
            id_before = bar.last_trade_id
    return proven


def counts_meet(klines: Sequence[Bar], first_id: int, id_after: int | None) -> bool:
    """Decide whether consecutive klines count exactly the trades from ``first_id`` to before ``id_after``.

    Args:
        klines: Klines of consecutive minutes.
        first_id: Id of the first trade that may belong to them.
        id_after: Id of the first trade after them; None if it is not known.
    """
    return first_id + sum(kline.trade_count for kline in klines) == id_after


def assign_ids_by_count(klines: Sequence[Bar], first_id: int, *, complete: bool = False) -> list[Bar]:
    """Give klines the trade ids that counting on from ``first_id`` gives.

    Args:
        klines: Klines of consecutive minutes, oldest first.
        first_id: Id of the first trade that may belong to them.
        complete: Whether the counts are known to meet the ids at both ends.
    """
    bars = []
    for kline in klines:
        next_id = first_id + kline.trade_count
        bars.append(
            replace(
                kline,
                first_trade_id=NO_TRADE if kline.is_empty else first_id,
                last_trade_id=NO_TRADE if kline.is_empty else next_id - 1,
                previous_trade_id=first_id - 1,
                closed=True,
                complete=complete,
            )
        )
        first_id = next_id
    return bars


def prove_run(klines: Sequence[Bar], id_before: int, id_after: int | None) -> list[Bar]:
    """Give a run of klines their ids by count; they are complete where the counts meet the ids at both ends.

    Args:
        klines: Klines of consecutive minutes, oldest first.
        id_before: Id of the last trade before them; ``NO_TRADE`` if it is not known.
        id_after: Id of the first trade after them; None if it is not known.

    Returns:
        The bars. Without a known id before them they have no ids and are not complete.
    """
    if id_before == NO_TRADE:
        return list(klines)
    return assign_ids_by_count(klines, id_before + 1, complete=counts_meet(klines, id_before + 1, id_after))
