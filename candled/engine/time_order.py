"""Which minutes say that a trade's time is wrong, or theirs are: ids rise with time.

Times may go back by ``ORDER_TOLERANCE``, over the end of a minute too, whichever way the trades come: one after
the other, in another order, or over REST. By how much they go back is known only of trades whose values are
remembered (``Testimony``); with any other one, an order of ids against that of minutes is a contradiction.
"""

from candled.domain.interval import ONE_MINUTE
from candled.domain.trade import Trade
from candled.engine.coverage import Coverage
from candled.engine.id_watch import ORDER_TOLERANCE
from candled.engine.minute import Minute
from candled.engine.testimony import REMEMBERED
from candled.engine.window import Window


def contradictions(trade: Trade, window: Window, coverage: Coverage) -> list[int]:
    """Return open times of the minutes whose ids say that a trade's time is wrong, or theirs are.

    Args:
        trade: One that was not counted yet.
        window: The minutes of its symbol.
        coverage: What is known of the symbol's trades.
    """
    open_time = ONE_MINUTE.floor(trade.time)
    before, after = window.id_before(open_time), window.id_after(open_time)
    if before < trade.first_id and (after is None or after > trade.last_id):
        return []
    beyond = [window[at] for at in window.beyond(open_time, trade.first_id, trade.last_id)]
    is_in_memory = before < trade.first_id or any(minute.last_id == before for minute in beyond)
    if beyond and is_in_memory and all(_fits(trade, minute, coverage) for minute in beyond):
        return []
    return [minute.open_time for minute in beyond] or [open_time]


def _fits(trade: Trade, minute: Minute, coverage: Coverage) -> bool:
    """Whether a trade is out of order with those of another minute by no more than times may go back."""
    if minute.open_time > trade.time:
        is_near = minute.open_time <= trade.time + ORDER_TOLERANCE
        return is_near and _fits_among(trade, minute.first_id, trade.first_id - 1, coverage)
    is_near = minute.close_time + ORDER_TOLERANCE > trade.time
    return is_near and _fits_among(trade, trade.last_id + 1, minute.last_id, coverage)


def _fits_among(trade: Trade, first_id: int, last_id: int, coverage: Coverage) -> bool:
    """The same of the trades seen with these ids, which are all lower than its own or all higher."""
    if last_id - first_id >= REMEMBERED:
        return False
    while first_id <= last_id:
        if not coverage.continuity.proves(first_id, first_id):  # also one that was forgotten, to be fetched again
            first_id += 1
            continue
        stated = coverage.testimony.statement(first_id)
        if stated is None:
            return False
        later, earlier = (trade, stated) if stated.first_id > trade.first_id else (stated, trade)
        if later.time > earlier.time + ORDER_TOLERANCE and not stated.is_placeholder:
            return False
        first_id = stated.last_id + 1
    return True
