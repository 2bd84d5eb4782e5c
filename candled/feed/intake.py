"""Passes decoded frames to the engine without waiting: the reader of a socket never stands still."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog
import trio

from candled.domain.bar import NO_TRADE
from candled.domain.feed_event import (
    FeedEvent,
    LastTradeFound,
    NewestId,
    NewestIdsStated,
    TradeExists,
    TradesArrived,
    TradesRefused,
)
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.refusal import Refused
from candled.domain.trade import Trade
from candled.feed.adapter import Decoded
from candled.feed.counts import FeedCounts
from candled.feed.refusals import RefusalBook
from candled.feed.silence import Pace


class Intake:
    """Hands batches of trades to the engine's channel.

    A batch that finds the channel full is dropped; the engine learns which ids exist as soon as there is room, and
    the repair fetches them: overload costs lateness, never loss.
    """

    def __init__(self, counts: FeedCounts, is_followed: Callable[[str], bool]) -> None:
        """Begin with nothing seen.

        Args:
            counts: where dropped batches are counted.
            is_followed: whether trades of a symbol are wanted.
        """
        self.refusals = RefusalBook()
        """Frames that were refused."""
        self._counts = counts
        self._is_followed = is_followed
        self._pace: dict[str, Pace] = {}
        self._dropped: dict[str, int] = {}
        """Highest id dropped of each symbol, until the engine knows that it exists."""
        self._log = structlog.get_logger(__name__)

    def pace(self, symbol: str) -> Pace:
        """Return how often trades of this symbol arrive."""
        return self._pace.setdefault(symbol, Pace())

    def forget(self, symbol: str) -> None:
        """This symbol is not read any more."""
        self._pace.pop(symbol, None)
        self._dropped.pop(symbol, None)

    def take(self, decoded: Decoded, now: float, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Hand over what a list of frames says.

        Args:
            decoded: of one read of a socket.
            now: local monotonic clock, seconds.
            send: the engine's channel.
        """
        for trade in decoded.trades:
            pace = self._pace.get(trade.symbol)
            if pace is None:
                if not self._is_followed(trade.symbol):
                    continue  # as many names as the exchange cares to make up
                pace = self._pace[trade.symbol] = Pace()
            ahead = trade.last_id - pace.last_id
            if 0 < ahead <= ID_JUMP_MAX:  # ``take`` for the usual id, inlined: every trade passes here
                pace.saw(trade.last_id, now)
            elif ahead:
                pace.take(trade.last_id, now)
        self._drop_unfollowed(decoded.event_times)
        try:
            self._emit_dropped(send)
            if decoded.trades or decoded.event_times:
                send.send_nowait(TradesArrived(decoded.trades, decoded.event_times, now))
        except trio.WouldBlock:
            self._drop(decoded.trades)
        for trade in decoded.last_trades:
            self._emit_last_trade(trade, now, send)
        if decoded.newest_ids:
            self._emit_newest_ids(decoded.newest_ids, now, send)
        if decoded.refused:
            self._note_refused(decoded.refused, now, send)

    def _drop_unfollowed(self, event_times: dict[str, int]) -> None:
        """Leave out times of symbols that are not followed, which would be sources of the exchange's time."""
        unfollowed = [name for name in event_times if name not in self._pace and not self._is_followed(name)]
        for name in unfollowed:
            del event_times[name]

    def _emit_dropped(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        for symbol in list(self._dropped):
            send.send_nowait(TradeExists(symbol, self._dropped[symbol]))
            del self._dropped[symbol]

    def _drop(self, trades: list[Trade]) -> None:
        if not trades:
            return
        if not self._dropped:
            self._log.error("engine queue full: batch dropped, its ids will be fetched again")
        self._counts.dropped_batches += 1
        for trade in trades:
            if self._is_followed(trade.symbol):
                self._note_dropped(trade.symbol, trade.last_id)

    def _note_dropped(self, symbol: str, last_id: int) -> None:
        self._dropped[symbol] = max(self._dropped.get(symbol, -1), last_id)

    def _emit_last_trade(self, trade: Trade, now: float, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Emit the last trade before a subscription: what was missed up to it is known without waiting."""
        if not self._is_followed(trade.symbol):
            return
        try:
            send.send_nowait(LastTradeFound(trade.symbol, trade))
        except trio.WouldBlock:  # the check of silent symbols asks for it, or the next trade shows it
            self._counts.dropped_batches += 1
        else:
            self.pace(trade.symbol).take(trade.last_id, now)

    def _emit_newest_ids(
        self, stated: Iterable[NewestId], now: float, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        """Emit which ids exist; a symbol of which nothing newer is stated than came needs no check.

        Nothing is kept of what finds the channel full: the exchange states it again.
        """
        known = tuple(each for each in stated if self._is_followed(each.symbol))
        for each in known:
            pace = self._pace.get(each.symbol)
            if pace is not None and pace.last_id == each.trade_id:
                pace.check(now)
        with suppress(trio.WouldBlock):
            send.send_nowait(NewestIdsStated(known, now))

    def _note_refused(
        self, refused: Iterable[Refused], now: float, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        """Count and log what was refused, and emit which ids were."""
        for each in refused:
            if count := self.refusals.note(each.reason, now):
                self._log.error(
                    "frames refused",
                    reason=each.reason.value,
                    symbol=each.symbol,
                    count=count,
                    example=each.text,
                )
            pace = self._pace.get(each.symbol) if each.symbol is not None else None
            if pace is None or each.symbol is None or not each.has_ids:
                continue
            # The stream lives, but an id from so far ahead would hide every later silence.
            is_near = NO_TRADE < pace.last_id >= each.last_id - ID_JUMP_MAX
            pace.saw(each.last_id if is_near else pace.last_id, now)
            try:
                send.send_nowait(TradesRefused(each.symbol, each.first_id, each.last_id, each.reason))
            except trio.WouldBlock:  # found, and fetched, by the next id that arrives
                self._counts.dropped_batches += 1
