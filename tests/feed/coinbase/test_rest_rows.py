"""What Coinbase's REST answers say, and what is refused of them."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import MINUTE
from candled.domain.refusal import Refusal
from candled.feed.adapter import DELISTED, TRADING, Instrument
from candled.feed.coinbase.rest_rows import (
    decode_candles,
    decode_listing,
    decode_product,
    decode_refusal,
    decode_server_time,
    decode_trades,
)
from tests.recordings import recordings

_OPEN = 1_618_677_780


def row(trade_id: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "trade_id": trade_id,
        "side": "sell",
        "size": "0.01",
        "price": "2.50000000",
        "time": "2021-04-17T16:43:37.1Z",
    }
    return fields | changes


def body(*rows: object) -> bytes:
    return json.dumps(rows).encode()


def test_trades_are_put_in_order() -> None:
    """The exchange lists the newest first."""
    page = decode_trades(body(row(9), row(8), row(7)), "BTC-USD", 8)
    assert [trade.first_id for trade in page.trades] == [8, 9]
    assert (page.first_id, page.last_id) == (8, 9)


def test_bad_row_is_refused_alone() -> None:
    """Its id exists all the same."""
    page = decode_trades(body(row(9), row(8, size="x"), row(7)), "BTC-USD", 7)
    assert [trade.first_id for trade in page.trades] == [7, 9]
    assert [(bad.reason, bad.first_id) for bad in page.refused] == [(Refusal.NUMBER, 8)]


def test_two_truths_of_one_id_are_refused() -> None:
    """Neither row is taken."""
    page = decode_trades(body(row(9), row(8, price="3"), row(8)), "BTC-USD", 7)
    assert [trade.first_id for trade in page.trades] == [9]
    assert {bad.reason for bad in page.refused} == {Refusal.TWO_TRUTHS}


@pytest.mark.parametrize("time", ["2021-04-17T16\\u003a43\\u003a37Z", "20210417T164337.123456Z"])
def test_doubled_key_beside_an_unusual_time_is_refused(time: str) -> None:
    """Also where the time hides its colons, so that there are as many as in a plain row."""
    doubled = json.dumps(row(8, time="T"))[:-1].replace('"T"', f'"{time}"') + ', "price": "7", "side": "buy"}'
    page = decode_trades(f"[{json.dumps(row(9))}, {doubled}]".encode(), "BTC-USD", 7)
    assert [trade.first_id for trade in page.trades] == [9]
    assert {bad.reason for bad in page.refused} == {Refusal.DOUBLED_KEY}


@pytest.mark.parametrize("text", [b"{}", b"null", b"<html>", b"[", b"[[[[[[", b'[{"trade_id":"x"}]'])
def test_other_answers_are_none(text: bytes) -> None:
    """They raise: the request is asked again."""
    with pytest.raises(ValueError, match=r"."):
        decode_trades(text, "BTC-USD", 0)


def test_candles_are_exact() -> None:
    """Numbers are read as text: no float is made of them. Order there: low, high, open, close."""
    page = decode_candles(f"[[{_OPEN},0.1,0.30000001,0.2,0.3,1234567890.12345678]]".encode(), "X-Y", 0)
    (bar,) = page.bars
    assert (bar.low, bar.high, bar.open, bar.close) == (10**7, 3 * 10**7 + 1, 2 * 10**7, 3 * 10**7)
    assert bar.volume == 123_456_789_012_345_678
    assert (bar.trade_count, bar.quote_volume) == (1, 0)


def test_full_page_with_candles_twice_is_read() -> None:
    """It has more rows than were asked for."""
    rows = [[_OPEN + 60 * minute, 1, 2, 1, 2, 3] for minute in range(300)]
    page = decode_candles(body(*rows, *rows[::10]), "BTC-USD", _OPEN * 1_000_000)
    assert [bar.open_time for bar in page.bars] == [time * 1_000_000 for time, *_ in rows]


def test_candles_before_the_range_are_left_out() -> None:
    """Some may be sent along, as the documents say."""
    rows = [[_OPEN + 60, 1, 2, 1, 2, 5], [_OPEN, 1, 2, 1, 2, 5], [_OPEN - 60, 1, 2, 1, 2, 5]]
    page = decode_candles(body(*rows), "X-Y", _OPEN * 10**6)
    assert [bar.open_time for bar in page.bars] == [_OPEN * 10**6, _OPEN * 10**6 + MINUTE]
    assert page.refused == ()


@pytest.mark.parametrize(
    "wrong", [[_OPEN, 3, 2, 1, 2, 5], [_OPEN, 1, 2, 1, 2], [_OPEN, 1, 2, 1, "x", 5], [_OPEN, 1, 2, 1, 1e-9, 5]]
)
def test_wrong_candle_is_refused(wrong: list[Any]) -> None:
    """With its minute, where that can be read."""
    page = decode_candles(body([_OPEN, *wrong], [_OPEN + 60, 1, 2, 1, 2, 5]), "X-Y", 0)
    assert [bad.open_time for bad in page.refused] == [_OPEN * 10**6]
    assert len(page.bars) == 1


def test_products_state_increments_and_status() -> None:
    """As recorded."""
    text = (recordings("coinbase") / "products_sample.json").read_bytes()
    listing = decode_listing(text, ["BTC-USD", "SKL-USD", "NONE-USD"])
    assert listing.instruments == {
        "BTC-USD": Instrument("BTC-USD", TRADING, 2, 8),
        "SKL-USD": Instrument("SKL-USD", TRADING, 4, 1),
    }
    assert "YFI-BTC" in listing.names


@pytest.mark.parametrize("increment", ["0", "0.000", "1e-2", None, 0.01])
def test_increment_that_says_nothing_means_the_finest(increment: object) -> None:
    """As everywhere: eight decimals are the most that there can be."""
    product = {"id": "X-Y", "status": "online", "quote_increment": increment, "base_increment": "0.10"}
    assert decode_product(json.dumps(product).encode(), "X-Y") == Instrument("X-Y", TRADING, 8, 1)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, TRADING),
        ({"limit_only": True}, TRADING),
        ({"trading_disabled": True}, "TRADING_DISABLED"),
        ({"post_only": True}, "POST_ONLY"),
        ({"auction_mode": True}, "AUCTION_MODE"),
        ({"status": "offline"}, "OFFLINE"),
        ({"status": "delisted"}, DELISTED),
    ],
)
def test_status_says_whether_it_is_traded(changes: dict[str, Any], status: str) -> None:
    """A product that is online may be held all the same."""
    product = {"id": "X-Y", "status": "online", "quote_increment": "0.01", "base_increment": "1"} | changes
    assert decode_product(json.dumps(product).encode(), "X-Y").status == status


@pytest.mark.parametrize("status", ["\x1b[2J", "", "x" * 50, 7, None])
def test_status_that_cannot_be_is_refused(status: object) -> None:
    """No control character reaches a log or a terminal."""
    product = {"id": "X-Y", "status": status, "quote_increment": "0.01", "base_increment": "1"}
    with pytest.raises(ValueError, match="cannot be read"):
        decode_product(json.dumps(product).encode(), "X-Y")


def test_server_time_is_read_from_text() -> None:
    """``epoch`` is a float, and is not looked at."""
    assert decode_server_time(b'{"iso":"2015-01-07T23:47:25.201Z","epoch":1}') == 1_420_674_445_201_000


def test_refusals_have_a_message() -> None:
    """An answer without one is no refusal."""
    assert decode_refusal(b'{"message":"NotFound"}') == "NotFound"
    with pytest.raises(ValueError, match=r"."):
        decode_refusal(b"<html>")


@given(st.binary())
def test_answers_raise_nothing_else(text: bytes) -> None:
    """``ValueError``, and no other."""
    for decode in (
        lambda: decode_trades(text, "X", 0),
        lambda: decode_candles(text, "X", 0),
        lambda: decode_listing(text, ["X"]),
        lambda: decode_product(text, "X"),
        lambda: decode_server_time(text),
        lambda: decode_refusal(text),
    ):
        with suppress(ValueError):
            decode()
