"""Recorded messages go through the whole path; ids, sums and times are checked against plain Decimal."""

import json
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from candled.config.settings import DaemonSettings
from candled.daemon.history_settings import history_settings
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import FeedEvent, NewestId, NewestIdsStated, ServerTime, TradesRepaired
from candled.domain.numbers import PRODUCT_DECIMALS
from candled.engine.engine import Engine
from candled.feed.coinbase.adapter import ADAPTER
from candled.feed.counts import FeedCounts
from candled.feed.intake import Intake
from candled.history import connect, open_history
from tests.recordings import recordings

if TYPE_CHECKING:
    from candled.domain.trade import Trade

_FIRST_MINUTE = 1_618_677_780_000_000
"""The recording begins within it, so only REST could prove its bars."""
_END = 1_618_677_960.0
"""A minute and a half after the last message, Unix seconds."""


def messages() -> list[tuple[float, dict[str, Any]]]:
    """When each was received, Unix seconds, and what it says."""
    path = recordings("coinbase") / "ws_matches_20210417T164337.jsonl"
    rows = map(json.loads, path.read_text().splitlines())
    return [(row["recv"], row["msg"]) for row in rows]


def closed_bars(found: list[tuple[float, dict[str, Any]]], symbols: list[str]) -> dict[tuple[str, int], BarEvent]:
    """The newest state of each closed bar, out of decoder, intake and engine.

    The repair would fetch each last match, which is one of the messages; at the end the newest ids are stated.
    """
    engine = Engine(symbols, quote_decimals=ADAPTER.capabilities.quote_decimals)
    intake = Intake(FeedCounts(), symbols.__contains__)
    begin = found[0][0]
    for local in (begin - 0.6, begin - 0.3, begin):
        engine.handle(ServerTime(round(local * 1e6), local, local), local)
    bars: dict[tuple[str, int], BarEvent] = {}
    fetched: list[Trade] = []

    def take(event: FeedEvent, local: float) -> None:
        for each in (*engine.handle(event, local), *engine.advance(local)):
            if each.kind is not BarEventKind.UPDATE and each.bar.interval == "1m":
                bars[each.bar.symbol, each.bar.open_time] = each

    for received, message in found:
        send, receive = trio.open_memory_channel[FeedEvent](10)
        decoded = ADAPTER.decode([json.dumps(message)])
        intake.take(decoded, received, send)
        while receive.statistics().current_buffer_used:
            take(receive.receive_nowait(), received)
        fetched += [trade for trade in decoded.last_trades if trade.symbol in symbols]
    for trade in fetched:
        take(TradesRepaired(trade.symbol, [trade]), received)
    take(ServerTime(round(_END * 1e6), _END, _END), _END)
    last_ids = {symbol: engine.symbols[symbol].continuity.horizon for symbol in symbols}
    stated = tuple(NewestId(symbol, last_id, round(_END * 1e6)) for symbol, last_id in last_ids.items())
    take(NewestIdsStated(stated, _END), _END)
    return bars


def truth(found: list[tuple[float, dict[str, Any]]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Matches by product and minute since the recording began, from the text alone."""
    minutes = defaultdict(list)
    for _, message in found:
        if message["type"] in ("match", "last_match"):
            moment = datetime.fromisoformat(message["time"])
            minutes[message["product_id"], int(moment.timestamp()) // 60 * 60_000_000].append(message)
    return {key: matches for key, matches in minutes.items() if key[1] >= _FIRST_MINUTE}


def test_recorded_bars_are_exact(tmp_path: Path) -> None:
    """Stored, and read by SQL: prices, sums, ids, the taker's part, and whether the ids prove them."""
    found = messages()
    symbols = sorted({message["product_id"] for _, message in found if message["type"] == "last_match"})
    bars = closed_bars(found, symbols)
    events = [
        BarEvent(BarEventKind.CLOSE, event.bar, event.exchange_time, number)
        for number, event in enumerate(bars.values(), start=1)
    ]
    settings = history_settings(DaemonSettings(exchange="coinbase"))

    async def store() -> None:
        async with open_history(tmp_path, exchange="coinbase-exchange", settings=settings) as history:
            await history.store(events)
            await history.publish()

    trio.run(store)
    with connect(tmp_path) as connection:
        rows = connection.execute(
            "SELECT symbol, epoch_us(open_time), open, high, low, close, volume, quote_volume, trade_count, "
            "taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, complete "
            "FROM bars WHERE interval = '1m'"
        ).fetchall()
    stored = {(symbol, open_time): tuple(rest) for symbol, open_time, *rest in rows}
    expected = truth(found)
    assert expected.keys() <= stored.keys()
    for key, matches in expected.items():
        ordered = sorted(matches, key=lambda message: message["trade_id"])
        prices = [Decimal(message["price"]) for message in ordered]
        sizes = [Decimal(message["size"]) for message in ordered]
        quotes = [price * size for price, size in zip(prices, sizes, strict=True)]
        bought = [message["side"] == "sell" for message in ordered]  # the maker sold
        assert stored[key] == (
            *(prices[0], max(prices), min(prices), prices[-1]),
            *(sum(sizes), sum(quotes), len(ordered)),
            sum((size for size, taker in zip(sizes, bought, strict=True) if taker), Decimal(0)),
            sum((quote for quote, taker in zip(quotes, bought, strict=True) if taker), Decimal(0)),
            *(ordered[0]["trade_id"], ordered[-1]["trade_id"], key[1] > _FIRST_MINUTE),
        )


def test_finer_products_than_eight_decimals_are_recorded() -> None:
    """The recording has fills whose product eight decimals would cut."""
    cut = 0
    for _, message in messages():
        if message["type"] == "match":
            product = Decimal(message["price"]) * Decimal(message["size"])
            cut += product != product.quantize(Decimal("1E-8"))
    assert cut > 0
    assert ADAPTER.capabilities.quote_decimals == PRODUCT_DECIMALS


def test_silent_products_have_proven_bars() -> None:
    """Nothing was traded since before the recording: its minutes are empty, and proven by the newest id."""
    found = messages()
    bars = [bar for (symbol, _), bar in closed_bars(found, ["CRV-EUR", "SKL-USD"]).items() if symbol == "CRV-EUR"]
    (last,) = [message for _, message in found if message.get("product_id") == "CRV-EUR"]
    assert len(bars) >= 2
    assert all(event.bar.complete and event.bar.is_empty for event in bars)
    assert {Decimal(event.bar.close).scaleb(-8) for event in bars} == {Decimal(last["price"])}
