"""Compares stored and emitted bars with the exchange's ledger."""

from decimal import Decimal
from typing import Final

from candled.domain.bar import Bar
from candled.domain.interval import DAY, MINUTE
from candled.domain.status import GapState
from candled.embedded_exchange.core import Exchange
from candled.engine.engine import Engine
from candled.history.memory import MemoryHistory, MemoryStore
from tests.simulation.adversary import Adversary
from tests.simulation.listeners import INTERVALS, Wanderer, numbers
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import Scenario

_KLINE_NINE: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


def judge_bars(
    exchange: Exchange,
    adversary: Adversary,
    store: MemoryStore,
    engine: Engine,
    scenario: Scenario,
    outcome: Outcome,
) -> None:
    """Every stored bar equals the ledger's and is complete, or says that the exchange keeps it from being so.

    One whose trades or kline the exchange lied about may be wrong, but not complete then; if the lie is plausible
    and nothing contradicts it, not even that can be asked.
    """
    for symbol in scenario.symbols:
        stored = {at: bar for at, (_, bar) in sorted(store.minutes.get(symbol, {}).items())}
        if not stored:
            if any(exchange.ledger.newest_aggregates(symbol, 1, exchange.clock.now())):
                outcome.wrong.append(f"no bar of {symbol} was stored")
            continue
        newest_id, known_id = max(bar.known_trade_id for bar in stored.values()), 0
        for open_time in range(min(stored), max(stored) + MINUTE, MINUTE):
            outcome.bars += 1
            bar = stored.get(open_time)
            # Of all up to this one: without a later trade a bar is not emitted again when those before it change.
            known_id = max(known_id, bar.known_trade_id) if bar else known_id
            wrong = _judge_bar(exchange, adversary, symbol, open_time, bar, known_id < newest_id, engine, outcome)
            if not wrong:
                continue
            if adversary.fools(symbol, open_time, bar):
                outcome.fooled += 1
            elif not (bar and bar.complete) and adversary.contradicts(symbol, open_time, bar):
                outcome.doubted += 1
            else:
                outcome.wrong.append(wrong)


def _judge_bar(
    exchange: Exchange,
    adversary: Adversary,
    symbol: str,
    open_time: int,
    bar: Bar | None,
    is_followed: bool,
    engine: Engine,
    outcome: Outcome,
) -> str | None:
    """Return what is wrong with a bar unless a lie excuses it; what nothing excuses goes to ``outcome``."""
    kline = exchange.ledger.kline(symbol, open_time, open_time + MINUTE, open_time + 2 * DAY)
    if kline is None and bar is not None and bar.is_empty and exchange.form.fills_halts:
        return None
    if bar is None or kline is None:
        if bar is not None or kline is not None:
            return f"{symbol} {open_time}: stored {bar}, ledger {kline}"
        return None
    outcome.trades += bar.trade_count
    proof, gaps = None, engine.symbols[symbol].continuity.gaps()
    if not bar.complete:
        proof = _proof_of(exchange, symbol, open_time)
        if proof is not None:
            listed = [
                (max(gap.first_id, proof[0]), min(gap.last_id, proof[1]))
                for gap in gaps
                if gap.state is GapState.UNFILLABLE and gap.first_id <= proof[1] and gap.last_id >= proof[0]
            ]
            if listed:
                outcome.excused += 1
                to_be_had = [id_ for first, last in listed for id_ in _to_be_had(exchange, symbol, first, last)]
                to_be_had = [id_ for id_ in to_be_had if not adversary.doubtful[symbol].overlaps(id_, id_)]
                if to_be_had:
                    outcome.wrong.append(f"{symbol} {open_time}: ids given up that are to be had: {to_be_had}")
                return None
    stored = tuple(Decimal(value).scaleb(-8) for value in numbers(bar))
    quotes = [
        Decimal(value).scaleb(-bar.quote_decimals) for value in (bar.quote_volume, bar.taker_buy_quote_volume)
    ]
    stored = (*stored[:5], quotes[0], Decimal(bar.trade_count), stored[7], quotes[1])
    true = tuple(getattr(kline, name) for name in _KLINE_NINE)
    if stored != true:
        return f"{symbol} {open_time}: stored {stored}, ledger {true}, complete {bar.complete}"
    if not bar.complete and is_followed:  # else no later trade has come yet
        return f"{symbol} {open_time}: equal, but never proven: {bar}; {proof}: {gaps}"
    return None


def _proof_of(exchange: Exchange, symbol: str, open_time: int) -> tuple[int, int] | None:
    """First and last of the ids that prove a minute, as far as the market has got; None if it has no first."""
    ledger, now = exchange.ledger, exchange.clock.now()
    before = next((fill for fill in ledger._backward(symbol, open_time - 1) if not fill.is_placeholder), None)
    if before is None:
        return None
    last = before.last_id
    for fill in ledger.fills_from(symbol, before.last_id, now):
        last = fill.last_id
        if fill.time >= open_time + MINUTE and not fill.is_placeholder:
            break
    return before.last_id, last


def _to_be_had(exchange: Exchange, symbol: str, first: int, last: int) -> list[int]:
    """Those of these ids that the exchange's REST side shows."""
    return [
        fill.first_id
        for fill in exchange.ledger.fills_from(symbol, first, exchange.clock.now())
        if fill.first_id <= last and not exchange.faults.hides(symbol, fill.first_id, fill.last_id)
    ]


async def judge_listener(
    wanderer: Wanderer, history: MemoryHistory, adversary: Adversary, scenario: Scenario, outcome: Outcome
) -> None:
    """Who left and resumed knows the same newest revision of each bar as the history.

    A crash may lose a proof that was emitted and not stored yet, and lies that last keep the next daemon from
    finding it again: then the history has the same bar, not proven.
    """
    for symbol in scenario.symbols:
        for interval in INTERVALS:
            for bar in await history.bars(symbol, interval, limit=1_000_000):
                known = wanderer.newest.get((symbol, interval, bar.open_time))
                if known is not None and known.complete and not bar.complete and numbers(known) == numbers(bar):
                    minutes = range(bar.open_time, bar.close_time, MINUTE)
                    if any(adversary.contradicts(symbol, open_time, None) for open_time in minutes):
                        outcome.doubted += 1
                        continue
                if known != bar:
                    outcome.wrong.append(
                        f"{symbol} {interval} {bar.open_time}: stored {bar}, listener knows {known}"
                    )
