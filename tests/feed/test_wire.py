"""Binance's messages are read as they were recorded; what makes no sense is skipped and reported."""

import json

import pytest

from candled.domain.numbers import format_units, quote_units
from candled.domain.trade import Trade
from candled.feed.binance.rest_rows import decode_listing, decode_trades
from candled.feed.binance.wire import decode_frames
from tests.recordings import recordings

AGGREGATE = (
    '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1617566591315,"s":"BTCUSDT","a":665076760,'
    '"p":"58001.03000000","q":"0.08620500","f":745522877,"l":745522879,"T":1617566591314,"m":true,"M":true}}'
)
TRADE = (
    '{"stream":"pepeusdt@trade","data":{"e":"trade","E":1700000000001000,"s":"PEPEUSDT","t":12345,'
    '"p":"0.00000712","q":"123456789.00000000","T":1700000000000999,"m":false,"M":true}}'
)


def test_aggregate_has_a_range_of_ids() -> None:
    """An aggregate is a trade with a range of ids."""
    decoded = decode_frames([AGGREGATE])
    assert decoded.trades == [
        Trade("BTCUSDT", 745522877, 745522879, 5_800_103_000_000, 8_620_500, 1_617_566_591_314_000, True)
    ]
    assert max(decoded.event_times.values()) == 1_617_566_591_315_000


def test_times_may_be_milliseconds_or_microseconds() -> None:
    decoded = decode_frames([TRADE])
    assert decoded.trades == [
        Trade("PEPEUSDT", 12345, 12345, 712, 12_345_678_900_000_000, 1_700_000_000_000_999, False)
    ]


def test_placeholder_aggregate_without_ids_is_ignored() -> None:
    frame = AGGREGATE.replace('"f":745522877,"l":745522879', '"f":-1,"l":-1')
    decoded = decode_frames([frame])
    assert (decoded.trades, decoded.refused) == ([], [])


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        '{"stream":"x","data":{"e":"trade"}}',
        '{"stream":"x","data":{"e":"somethingElse","E":1}}',
        TRADE.replace("0.00000712", "7.12e-6"),
        TRADE.replace('"t":12345', '"t":-5'),
        TRADE.replace('"t":12345', '"t":"12345"'),
        AGGREGATE.replace('"l":745522879', '"l":745522870'),
        "[1,2,3]",
        "\ud800",
    ],
)
def test_bad_frame_is_skipped(frame: str) -> None:
    decoded = decode_frames([frame, TRADE])
    assert [trade.first_id for trade in decoded.trades] == [12345]
    assert len(decoded.refused) == 1


def test_subscription_answer_is_ignored() -> None:
    decoded = decode_frames(['{"result":null,"id":1}'])
    assert (decoded.trades, decoded.refused, decoded.shutdown) == ([], [], False)


def test_refused_subscription_is_reported() -> None:
    assert decode_frames(['{"error":{"code":2,"msg":"Invalid request"},"id":1}']).refused


def test_server_shutdown_is_recognised() -> None:
    frame = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1700000000000}}'
    assert decode_frames([frame]).shutdown


def test_every_recorded_aggregate_is_read() -> None:
    lines = (recordings() / "spot_ws_BTC_ETH_DOT_20210404T2003-2004.jsonl").read_text().splitlines()
    messages = [json.loads(line)["msg"] for line in lines]
    wanted = [message for message in messages if message["stream"].endswith("@aggTrade")]
    decoded = decode_frames(json.dumps(message) for message in wanted)
    assert len(decoded.trades) == len(wanted) == 1910
    assert decoded.refused == []
    assert {trade.symbol for trade in decoded.trades} == {"BTCUSDT", "ETHUSDT", "DOTUSDT"}


def test_every_recorded_quote_quantity_is_the_truncated_product() -> None:
    text = (recordings() / "unpaired_spot_ETHBTC_trades_20230320T024537-024927.json").read_bytes()
    rows = json.loads(text)
    trades = decode_trades(text, "ETHBTC", 0).trades
    assert [format_units(quote_units(t.price, t.quantity)) for t in trades] == [row["quoteQty"] for row in rows]


def test_filters_give_the_decimals() -> None:
    """Decimals of a symbol come from the exchange's filters."""
    text = (recordings() / "exchangeInfo_sample.json").read_bytes()
    info = decode_listing(text, ["BTCUSDT"])
    (bitcoin,) = info.symbols
    assert (bitcoin.decimals("PRICE_FILTER"), bitcoin.decimals("LOT_SIZE")) == (2, 5)
    assert info.embedded is None
