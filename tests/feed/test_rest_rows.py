"""The gate of the REST side: a bad row is refused alone, an answer that is none raises ``ValueError``."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import MINUTE
from candled.domain.limits import trade_fits
from candled.domain.refusal import Refusal
from candled.feed.binance.rest_rows import (
    decode_aggregates,
    decode_klines,
    decode_listing,
    decode_refusal,
    decode_server_time,
    decode_trades,
)
from tests.feed.test_refused_frames import values

TIME = 1_700_000_040_000
"""A whole minute, milliseconds."""


def trade(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "price": "96000.01000000", "qty": "0.00100000", "quoteQty": "96.00001000",
        "time": TIME, "isBuyerMaker": True, "isBestMatch": True, **changes,
    }  # fmt: skip


def aggregate(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "a": number, "p": "96000.01000000", "q": "0.00100000", "f": number * 10, "l": number * 10 + 9,
        "T": TIME, "m": True, "M": True, **changes,
    }  # fmt: skip


def kline(number: int, **changes: Any) -> list[Any]:
    row = {
        "t": TIME + number * 60_000, "o": "2.0", "h": "3.0", "l": "1.0", "c": "2.5", "v": "10.0",
        "T": TIME + number * 60_000 + 59_999, "q": "20.0", "n": 7, "V": "5.0", "Q": "10.0", "B": "0",
    }  # fmt: skip
    assert changes.keys() <= row.keys()
    return list({**row, **changes}.values())


def body(*rows: object) -> bytes:
    return json.dumps(rows).encode()


BAD = [
    ({"price": "10000000000.00000000"}, Refusal.PRICE),
    ({"price": "1" * 30}, Refusal.PRICE),
    ({"qty": "1" * 30}, Refusal.QUANTITY),
    ({"qty": "0.123456789"}, Refusal.DECIMALS),
    ({"price": "1E-7"}, Refusal.NUMBER),
    ({"price": "NaN"}, Refusal.NUMBER),
    ({"qty": "-1"}, Refusal.NUMBER),
    ({"price": 5}, Refusal.FORM),
    ({"time": 10**18}, Refusal.TIME),
    ({"time": "now"}, Refusal.FORM),
    ({"isBuyerMaker": None}, Refusal.FORM),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_a_bad_trade_is_refused_alone(changes: dict[str, Any], reason: Refusal) -> None:
    """The rows round it are taken, and the page reaches past it."""
    page = decode_trades(body(trade(5), trade(6, **changes), trade(7)), "X", 5)
    assert [each.first_id for each in page.trades] == [5, 7]
    assert [(bad.reason, bad.first_id) for bad in page.refused] == [(reason, 6)]
    assert (page.first_id, page.last_id) == (5, 7)


def test_bad_last_row_counts() -> None:
    """Whoever pages on continues after it."""
    page = decode_trades(body(trade(5), trade(6, price="NaN")), "X", 5)
    assert page.last_id == 6


@pytest.mark.parametrize("number", [2**63, -1, "6", None, 10**40])
def test_row_without_a_readable_id(number: object) -> None:
    """Its id is found missing between the others."""
    page = decode_trades(body(trade(5), trade(6, id=number), trade(7)), "X", 5)
    assert [each.first_id for each in page.trades] == [5, 7]
    assert [bad.has_ids for bad in page.refused] == [False]


def test_a_doubled_key_in_a_row_is_refused() -> None:
    """It is found beside all other fields, and in place of one that is not read."""
    row = json.dumps(trade(6))
    for text in (row.replace('"id"', '"id": 9, "id"'), row.replace('"isBestMatch": true', '"id": 6')):
        page = decode_trades(f"[{json.dumps(trade(5))},{text}]".encode(), "X", 5)
        assert [bad.reason for bad in page.refused] == [Refusal.DOUBLED_KEY]


def test_contradicting_rows_are_refused() -> None:
    """Neither is taken on its word; the same row twice counts once."""
    page = decode_trades(body(trade(5), trade(6), trade(6, price="1.0"), trade(7), trade(7)), "X", 5)
    assert [each.first_id for each in page.trades] == [5, 7]
    assert [(bad.reason, bad.first_id) for bad in page.refused] == [(Refusal.TWO_TRUTHS, 6)] * 2


def test_a_full_page_with_rows_twice_is_read() -> None:
    """It has more rows than were asked for; those that came once are as good as ever."""
    rows = [trade(number) for number in range(1000)]
    page = decode_trades(body(*rows, *rows[::10], trade(7, price="1.0")), "X", 0)
    assert [each.first_id for each in page.trades] == [number for number in range(1000) if number != 7]
    assert {bad.first_id for bad in page.refused} == {7}


def test_rows_in_any_order_leave_in_order() -> None:
    """Rows from before what was asked for are left out."""
    page = decode_trades(body(trade(7), trade(3), trade(5), trade(6)), "X", 5)
    assert [each.first_id for each in page.trades] == [5, 6, 7]


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"{}",
        b"",
        b"[" * 100_000,
        b'[{"id":' + b"1" * 5000 + b"}]",
        b"[1,2,3]",
        b'[{"id":null}]',
        json.dumps([trade(number) for number in range(2001)]).encode(),
    ],
)
def test_unreadable_rows_are_no_answer(answer: bytes) -> None:
    """It does not pass for an empty page, which would prove that the trades do not exist."""
    with pytest.raises(ValueError, match=r"\w"):
        decode_trades(answer, "X", 0)


def test_a_bad_aggregate_is_refused_alone() -> None:
    """Its ids are known, and the cursor is past it."""
    page = decode_aggregates(body(aggregate(5), aggregate(6, p="1E-7"), aggregate(7)), "X")
    assert [each.first_id for each in page.trades] == [50, 70]
    assert [(bad.first_id, bad.last_id) for bad in page.refused] == [(60, 69)]
    assert page.cursor == 8


def test_an_aggregate_of_no_trades_is_left_out() -> None:
    """The exchange sends such rows, with ids of -1."""
    page = decode_aggregates(body(aggregate(5, f=-1, l=-1, p="0.00000000", q="0.00000000")), "X")
    assert (page.trades, page.refused, page.cursor) == ([], (), 6)


def test_aggregates_that_overlap_are_refused() -> None:
    """One trade in two aggregates would be counted twice."""
    page = decode_aggregates(body(aggregate(5, l=65), aggregate(6), aggregate(7)), "X")
    assert [each.first_id for each in page.trades] == [70]
    assert [bad.reason for bad in page.refused] == [Refusal.TWO_TRUTHS] * 2


def test_a_kline_may_lack_a_unit_of_quote_volume_for_each_trade() -> None:
    """The exchange truncates price x quantity of each trade to eight decimals."""
    price, quantity, trades = 3, 11_111_111, 7
    volume, quote = f"0.{quantity * trades:08}", f"0.{price * quantity // 10**8 * trades:08}"
    row = kline(0, **dict.fromkeys("ohlc", f"0.{price:08}"), v=volume, q=quote, V=volume, Q=quote)
    assert decode_klines(body(row), "X", TIME * 1000).refused == ()
    row = kline(0, **dict.fromkeys("ohlc", "1.0"), v="10.0", q="9.99999992", V="0.0", Q="0.0")
    assert [bad.reason for bad in decode_klines(body(row), "X", TIME * 1000).refused] == [Refusal.KLINE]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"h": "1.5"}, Refusal.KLINE),
        ({"l": "2.1"}, Refusal.KLINE),
        ({"n": -1}, Refusal.KLINE),
        ({"n": 10**12}, Refusal.KLINE),
        ({"n": 0}, Refusal.KLINE),
        ({"V": "11.0"}, Refusal.KLINE),
        ({"Q": "21.0"}, Refusal.KLINE),
        ({"q": "30.00000001"}, Refusal.KLINE),
        ({"q": "9.9"}, Refusal.KLINE),
        ({"Q": "4.9"}, Refusal.KLINE),
        ({"Q": "15.00000001"}, Refusal.KLINE),
        ({"V": "0.0"}, Refusal.KLINE),
        ({"V": "9.9", "Q": "19.95"}, Refusal.KLINE),
        ({"h": "10000000000.0"}, Refusal.PRICE),
        ({"v": "1" * 21}, Refusal.QUANTITY),
        ({"q": "1" * 26}, Refusal.PRODUCT),
        ({"o": "NaN"}, Refusal.NUMBER),
        ({"c": "2.123456789"}, Refusal.DECIMALS),
        ({"v": 10.0}, Refusal.FORM),
        ({"n": "7"}, Refusal.FORM),
        ({"n": True}, Refusal.FORM),
    ],
)
def test_a_kline_that_cannot_be_is_refused_alone(changes: dict[str, Any], reason: Refusal) -> None:
    """The page says that there may be one of that minute."""
    page = decode_klines(body(kline(0), kline(1, **changes), kline(2)), "X", TIME * 1000)
    assert [bar.open_time for bar in page.bars] == [TIME * 1000, TIME * 1000 + 2 * MINUTE]
    assert [bad.reason for bad in page.refused] == [reason]
    assert page.may_have(TIME * 1000 + MINUTE)
    assert not page.may_have(TIME * 1000)


@pytest.mark.parametrize("time", [TIME + 1, 10**18, -1, "1", None, 1.5])
def test_a_kline_off_the_minutes_is_refused(time: object) -> None:
    """It may be one of any minute."""
    page = decode_klines(body(kline(0), kline(1, t=time)), "X", TIME * 1000)
    assert len(page.bars) == 1
    assert page.may_have(TIME * 1000 + 50 * MINUTE)


def test_extra_kline_column_is_ignored() -> None:
    """Some venues add columns."""
    page = decode_klines(body([*kline(0), "more"], kline(1)[:11]), "X", 0)
    assert len(page.bars) == 2


def test_contradicting_klines_are_refused() -> None:
    """Neither is taken silently; the same one twice counts once."""
    page = decode_klines(body(kline(0), kline(0, c="2.6"), kline(1), kline(1)), "X", 0)
    assert [bar.open_time for bar in page.bars] == [TIME * 1000 + MINUTE]
    assert page.end == TIME * 1000 + 2 * MINUTE


@pytest.mark.parametrize("answer", [{"serverTime": 0}, {"serverTime": 10**18}, {"serverTime": "x"}, {}, []])
def test_a_clock_that_cannot_be_is_refused(answer: object) -> None:
    """Nothing outside an exchange's life is its time."""
    with pytest.raises(ValueError, match=r"\w"):
        decode_server_time(json.dumps(answer).encode())


def listed(name: str, **changes: Any) -> dict[str, Any]:
    tick = {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}
    lot = {"filterType": "LOT_SIZE", "stepSize": "0.00001000"}
    return {"symbol": name, "status": "TRADING", "filters": [tick, lot], **changes}


def listing(*symbols: object, **changes: Any) -> bytes:
    return json.dumps({"symbols": symbols, **changes}, ensure_ascii=False).encode()


def test_bad_symbol_of_others_is_ignored() -> None:
    """The others are listed."""
    found = decode_listing(listing(listed("A"), {"symbol": 5}, listed("币安人生USDT"), listed("\x1b[31m")), ["A"])
    assert [entry.symbol for entry in found.symbols] == ["A"]
    assert found.names == ["A", "币安人生USDT"]


@pytest.mark.parametrize(
    "symbols",
    [
        [{"symbol": "A"}],
        [listed("A", status=5)],
        [listed("A", status="\x1b[31m")],
        [listed("A", filters={})],
        [listed("A"), listed("A", status="HALT")],
        [{"symbol": None}, listed("B")],
    ],
)
def test_bad_row_is_no_unknown_symbol(symbols: list[object]) -> None:
    """An unknown symbol ends the start, a bad answer is asked for again."""
    with pytest.raises(ValueError, match=r"\w"):
        decode_listing(listing(*symbols), ["A"])


@pytest.mark.parametrize("size", ["1E-7", "NaN", "", "-0.01", "0.0000000001", "0", "0.00000000"])
def test_unreadable_step_means_the_finest(size: str) -> None:
    """Sums of aggregates then do not count as exact; a size of 0 switches the filter off."""
    tick = {"filterType": "PRICE_FILTER", "tickSize": size}
    (entry,) = decode_listing(listing(listed("A", filters=[tick])), ["A"]).symbols
    assert entry.decimals("PRICE_FILTER") == 8


def test_the_words_of_a_refusal_are_plain_text() -> None:
    """Neither controls nor endless text of the exchange reach a log."""
    code, message = decode_refusal(json.dumps({"code": -1003, "msg": "\x1b[31m" + "x" * 10_000}).encode())
    assert code == -1003
    assert message.isprintable()
    assert len(message) <= 200


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(answer: bytes) -> None:
    """Only ``ValueError`` leaves a decoder."""
    for decode in (
        lambda text: decode_trades(text, "X", 0),
        lambda text: decode_aggregates(text, "X"),
        lambda text: decode_klines(text, "X", 0),
        lambda text: decode_listing(text, ["X"]),
        decode_server_time,
        decode_refusal,
    ):
        try:
            decode(answer)
        except ValueError:
            continue


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "price", "qty", "time", "isBuyerMaker", "new"]), values, max_size=3
        ),
        max_size=5,
    )
)
def test_any_rows_of_trades_are_taken_or_refused(changes: list[dict[str, Any]]) -> None:
    """What is taken lies within the limits, in order, each id once."""
    rows = [trade(number, **each) for number, each in enumerate(changes)]
    try:
        page = decode_trades(body(*rows), "X", 0)
    except ValueError:
        return
    ids = [each.first_id for each in page.trades]
    assert ids == sorted(set(ids))
    for each in page.trades:
        assert trade_fits(each.first_id, each.last_id, each.price, each.quantity, each.time)


@given(st.lists(st.dictionaries(st.sampled_from(list("apqflTm")), values, max_size=3), max_size=5))
def test_any_rows_of_aggregates_are_taken_or_refused(changes: list[dict[str, Any]]) -> None:
    """What is taken lies within the limits, in order, each id once."""
    try:
        page = decode_aggregates(body(*(aggregate(number, **each) for number, each in enumerate(changes))), "X")
    except ValueError:
        return
    reached = -1
    for each in page.trades:
        assert trade_fits(each.first_id, each.last_id, each.price, each.quantity, each.time)
        assert each.first_id > reached
        reached = each.last_id


@given(st.lists(st.dictionaries(st.sampled_from(list("tohlcvTqnVQ")), values, max_size=3), max_size=5))
def test_any_rows_of_klines_are_taken_or_refused(changes: list[dict[str, Any]]) -> None:
    """What is taken is a bar of a minute, in order, each minute once."""
    try:
        page = decode_klines(body(*(kline(number, **each) for number, each in enumerate(changes))), "X", 0)
    except ValueError:
        return
    times = [bar.open_time for bar in page.bars]
    assert times == sorted(set(times))
    for bar in page.bars:
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high < 10**18
        assert bar.trade_count >= 0
