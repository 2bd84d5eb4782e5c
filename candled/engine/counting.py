"""Closed minutes that lack trades and whose klines may account for them: which, and whether a kline fits. Pure."""

from collections.abc import Iterable

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.engine.minute import Minute


def merged(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join runs of minutes, by first and last open time, that overlap or follow each other; oldest first."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if found and found[-1][1] + MINUTE >= first:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def may_hold(kline: Bar, minute: Minute) -> bool:
    """Return whether the trades seen of a minute can be among those of its kline, which has ids by count.

    If all of its trades were seen, every sum must be equal. Otherwise some volume must be left for those missing.
    """
    if minute.last_id == NO_TRADE:
        return True
    if not kline.first_trade_id <= minute.first_id <= minute.last_id <= kline.last_trade_id:
        return False
    seen, stated = _sums(minute), _sums(kline)
    if kline.trade_count == minute.trade_count:
        return seen == stated and (minute.low, minute.high) == (kline.low, kline.high)
    leaves_volume = minute.volume < kline.volume and all(a <= b for a, b in zip(seen, stated, strict=True))
    return leaves_volume and kline.low <= minute.low and minute.high <= kline.high


def _sums(of: Minute | Bar) -> tuple[int, int, int, int]:
    return of.volume, of.quote_volume, of.taker_buy_volume, of.taker_buy_quote_volume
