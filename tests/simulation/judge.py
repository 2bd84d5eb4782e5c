"""Holds what was stored and told against the exchange's ledger."""

from decimal import Decimal
from typing import Final

from candled.domain.bar import Bar
from candled.domain.interval import DAY, MINUTE
from candled.domain.status import GapState
from candled.engine.engine import Engine
from candled.exchange.core import Exchange
from candled.history.memory import MemoryHistory, MemoryStore
from tests.simulation.listeners import INTERVALS, Wanderer, numbers
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import SYMBOLS

_KLINE_NINE: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


def judge_bars(exchange: Exchange, store: MemoryStore, engine: Engine, outcome: Outcome) -> None:
    """Every stored bar equals the ledger's and is complete, or says that the exchange keeps it from being so."""
    for symbol in SYMBOLS:
        stored = {at: bar for at, (_, bar) in sorted(store.minutes.get(symbol, {}).items())}
        if not stored:
            if any(exchange.ledger.newest_aggregates(symbol, 1, exchange.clock.now())):
                outcome.wrong.append(f"no bar of {symbol} was stored")
            continue
        newest_id = max(bar.known_trade_id for bar in stored.values())
        for open_time in range(min(stored), max(stored) + MINUTE, MINUTE):
            outcome.bars += 1
            _judge_bar(exchange, symbol, open_time, stored.get(open_time), newest_id, engine, outcome)


def _judge_bar(
    exchange: Exchange,
    symbol: str,
    open_time: int,
    bar: Bar | None,
    newest_id: int,
    engine: Engine,
    outcome: Outcome,
) -> None:
    kline = exchange.ledger.kline(symbol, open_time, open_time + MINUTE, open_time + 2 * DAY)
    if bar is None or kline is None:
        if bar is not None or kline is not None:
            outcome.wrong.append(f"{symbol} {open_time}: stored {bar}, ledger {kline}")
        return
    outcome.trades += bar.trade_count
    if not bar.complete:
        hole = hidden_id(exchange, symbol, open_time)
        if hole is not None:
            outcome.excused += 1
            gaps = engine.symbols[symbol].continuity.gaps()
            given_up = GapState.OPEN if is_hidden_from(exchange, symbol, hole) else GapState.UNFILLABLE
            listed = any(g.first_id <= hole <= g.last_id and g.state is given_up for g in gaps)
            if not listed:
                outcome.wrong.append(f"{symbol} {open_time}: id {hole} is not to be had, but not listed: {gaps}")
            return
        if bar.known_trade_id >= newest_id:
            return  # no later trade has come yet
    told = tuple(Decimal(value).scaleb(-8) for value in numbers(bar))
    told = (*told[:6], Decimal(bar.trade_count), *told[7:])
    true = tuple(getattr(kline, name) for name in _KLINE_NINE)
    if told != true:
        outcome.wrong.append(f"{symbol} {open_time}: stored {told}, ledger {true}, complete {bar.complete}")
    elif not bar.complete:
        outcome.wrong.append(f"{symbol} {open_time}: equal, but never proven: {bar}")


def is_hidden_from(exchange: Exchange, symbol: str, first_id: int) -> bool:
    """Whether the exchange's REST side lacks every trade from this id on: for all one can know, it merely lags."""
    fills = exchange.ledger.fills_from(symbol, first_id, exchange.clock.now())
    return all(exchange.faults.hides(symbol, fill.first_id, fill.last_id) for fill in fills)


def hidden_id(exchange: Exchange, symbol: str, open_time: int) -> int | None:
    """An id that the proof of a minute needs and that the exchange's REST side really lacks."""
    ledger = exchange.ledger
    before = next((fill for fill in ledger._backward(symbol, open_time - 1) if not fill.is_placeholder), None)
    if before is None:
        return None
    wanted = before.last_id
    for fill in ledger.fills_from(symbol, before.last_id, open_time + 2 * DAY):
        if fill.first_id > wanted:
            return wanted
        for id_ in range(fill.first_id, fill.last_id + 1):
            if exchange.faults.hides(symbol, id_, id_):
                return id_
        wanted = fill.last_id + 1
        if fill.time >= open_time + MINUTE and not fill.is_placeholder:
            return None
    return None


async def judge_listener(wanderer: Wanderer, history: MemoryHistory, outcome: Outcome) -> None:
    """Who left and resumed knows the same newest revision of each bar as the history."""
    for symbol in SYMBOLS:
        for interval in INTERVALS:
            for bar in await history.bars(symbol, interval, limit=1_000_000):
                told = wanderer.newest.get((symbol, interval, bar.open_time))
                if told != bar:
                    outcome.wrong.append(
                        f"{symbol} {interval} {bar.open_time}: stored {bar}, listener knows {told}"
                    )
