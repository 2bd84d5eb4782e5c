"""The gate of the stream: a frame with a value that cannot be is refused alone, with its reason and its ids."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.limits import trade_fits
from candled.domain.refusal import Refusal
from candled.feed.binance.wire import decode_frames

TRADE: dict[str, Any] = {
    "e": "trade", "E": 1_700_000_000_001, "s": "BTCUSDT", "t": 12345, "p": "96000.01000000", "q": "0.00100000",
    "T": 1_700_000_000_000, "m": False, "M": True,
}  # fmt: skip
AGGREGATE: dict[str, Any] = {
    "e": "aggTrade", "E": 1_700_000_000_001, "s": "BTCUSDT", "a": 77, "p": "96000.01000000", "q": "0.00100000",
    "f": 12345, "l": 12347, "T": 1_700_000_000_000, "m": False, "M": True,
}  # fmt: skip


def frame(data: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"stream": "btcusdt@trade", "data": {**data, **changes}})


GOOD = frame(TRADE, t=1)


def refused(text: str) -> tuple[Refusal, int, int]:
    """Why the frame was refused and the ids that were read; the frames round it must be taken."""
    decoded = decode_frames([GOOD, text, GOOD])
    assert [trade.first_id for trade in decoded.trades] == [1, 1]
    (found,) = decoded.refused
    return found.reason, found.first_id, found.last_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p": "10000000000.00000000"}, Refusal.PRICE),
        ({"p": "1" * 30}, Refusal.PRICE),
        ({"p": "1" * 31}, Refusal.NUMBER),
        ({"p": "1" * 5000}, Refusal.NUMBER),
        ({"q": "9" * 30}, Refusal.QUANTITY),
        ({"q": "1000000000000.00000000"}, Refusal.QUANTITY),
        ({"p": "9999999999.00000000", "q": "99999999999.00000000"}, Refusal.PRODUCT),
        ({"p": "0.000000001"}, Refusal.DECIMALS),
        ({"q": "1.123456789"}, Refusal.DECIMALS),
        ({"p": "1E-7"}, Refusal.NUMBER),
        ({"q": "NaN"}, Refusal.NUMBER),
        ({"q": "Infinity"}, Refusal.NUMBER),
        ({"p": "-1.00000000"}, Refusal.NUMBER),
        ({"p": ""}, Refusal.NUMBER),
        ({"p": " 1.00000000"}, Refusal.NUMBER),
        ({"p": "\u0661\u0662.00000000"}, Refusal.NUMBER),
        ({"p": 96000}, Refusal.FORM),
        ({"p": None}, Refusal.FORM),
        ({"q": 0.001}, Refusal.FORM),
        ({"m": 0}, Refusal.FORM),
        ({"m": "false"}, Refusal.FORM),
        ({"T": 0}, Refusal.TIME),
        ({"T": -1_700_000_000_000}, Refusal.TIME),
        ({"T": 1_700_000_000}, Refusal.TIME),
        ({"T": 10**18}, Refusal.TIME),
        ({"T": 32_503_680_000_000}, Refusal.TIME),
        ({"E": 10**18}, Refusal.TIME),
        ({"E": -1}, Refusal.TIME),
        ({"T": 1_700_000_001_002}, Refusal.EVENT_TIME),
        ({"T": 1_700_000_040_000}, Refusal.EVENT_TIME),
        ({"E": 1_699_999_990_000}, Refusal.EVENT_TIME),
    ],
)
def test_a_value_that_cannot_be_is_refused(changes: dict[str, Any], reason: Refusal) -> None:
    """The reason names the value, and the id stays known."""
    assert refused(frame(TRADE, **changes)) == (reason, 12345, 12345)
    assert refused(frame(AGGREGATE, **changes)) == (reason, 12345, 12347)


@pytest.mark.parametrize("time", [1_700_000_000_002, 1_700_000_001_001])
def test_trade_slightly_after_its_message(time: int) -> None:
    """Clocks of one exchange need not agree to the millisecond."""
    assert [trade.time for trade in decode_frames([frame(TRADE, T=time)]).trades] == [time * 1000]


@pytest.mark.parametrize("trade_id", [2**63, 2**64, 10**30, -5, "12345", 1.5, True, None])
def test_an_id_that_cannot_be_is_no_id(trade_id: object) -> None:
    """Nothing is known of such a trade: the next id finds the gap."""
    reason, first_id, _ = refused(frame(TRADE, t=trade_id))
    assert reason in (Refusal.TRADE_ID, Refusal.FORM)
    assert first_id == -1


@pytest.mark.parametrize(("first", "last"), [(5, 4), (0, 2**62), (-1, 3), (2**63, 2**63)])
def test_impossible_aggregate_ids_are_refused(first: int, last: int) -> None:
    """An aggregate's range is in order and no longer than one order can make it."""
    assert refused(frame(AGGREGATE, f=first, l=last))[0] is Refusal.TRADE_ID


@pytest.mark.parametrize("key", [key for key in TRADE if key not in ("M", "e")])
def test_a_missing_key_is_refused(key: str) -> None:
    """Without any of the fields that are read, there is no trade."""
    assert refused(frame({name: value for name, value in TRADE.items() if name != key}))[0] is Refusal.FORM


@pytest.mark.parametrize("key", list(TRADE))
def test_a_doubled_key_is_refused(key: str) -> None:
    """Which of two values counts is anybody's guess, even if the number of keys is right."""
    twice = f'{json.dumps(key)}: {json.dumps(TRADE[key])}, "t": 9, "t": 9'
    text = frame(TRADE).replace(f'"{key}":', "%:", 1).replace("%:", f'{twice.split(",")[0]}, "{key}":', 1)
    assert refused(text)[0] is Refusal.DOUBLED_KEY
    without = {name: value for name, value in TRADE.items() if name != "M"}
    text = frame(without).replace('"p":', '"p": "1.00000000", "p":')
    assert refused(text)[0] is Refusal.DOUBLED_KEY


@pytest.mark.parametrize(
    "text",
    [
        '{"data":' * 100_000,
        '{"stream":"x","data":{"e":"trade","x":' + "[" * 100_000,
        "[" * 100_000,
        "1" * 5000,
        '{"data":{"e":"trade","t":' + "1" * 5000 + "}}",
        '{"data":{"e":"trade","e":"trade"}}',
        '{"data":{"e":["trade"]}}',
        "null",
        '"text"',
        "\ud800",
        "",
    ],
)
def test_a_frame_without_a_trade_is_refused(text: str) -> None:
    """However it is broken or nested, it is counted, and that is all."""
    decoded = decode_frames([text, GOOD])
    assert len(decoded.trades) == 1
    assert len(decoded.refused) + (text == "null") in (1, 2)


def test_bytes_that_are_no_text_are_refused() -> None:
    """Binary frames are read like texts."""
    decoded = decode_frames([b"\xff\xfe", GOOD.encode()])
    assert len(decoded.trades) == len(decoded.refused) == 1


def test_more_fields_than_today_are_no_fault() -> None:
    """The exchange adds fields now and then."""
    decoded = decode_frames([frame(TRADE, X="MARKET", st=1, b={"a": [1, {"t": 5}]})])
    assert len(decoded.trades) == 1
    assert not decoded.refused


def test_an_escaped_symbol_is_the_symbol() -> None:
    """Letters of any script arrive as they are or escaped."""
    for ascii_only in (True, False):
        text = json.dumps({"stream": "x", "data": {**TRADE, "s": "币安人生USDT"}}, ensure_ascii=ascii_only)
        assert [trade.symbol for trade in decode_frames([text]).trades] == ["币安人生USDT"]


def test_shown_frames_have_no_control_characters() -> None:
    """An example in the log cannot command a terminal."""
    (found,) = decode_frames(["\x1b[31m" + "x" * 1000]).refused
    assert found.text.isprintable()
    assert len(found.text) <= 200


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.from_regex(r"-?[0-9]{1,35}(\.[0-9]{1,12})?([eE][+-]?[0-9])?", fullmatch=True),
)


@given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=300)), max_size=5))
def test_any_bytes_are_read_without_an_error(frames: list[bytes | str]) -> None:
    """Nothing raises, and nothing past the limits comes out."""
    check(frames)


changed = st.dictionaries(st.sampled_from(list(AGGREGATE)), values, max_size=4)


@given(st.lists(st.tuples(st.sampled_from([TRADE, AGGREGATE]), changed), max_size=5))
def test_any_json_is_read_without_an_error(messages: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Nothing raises whatever stands in the fields, and nothing past the limits comes out."""
    check([frame(data, **changes) for data, changes in messages])


def check(frames: list[Any]) -> None:
    decoded = decode_frames(frames)
    assert len(decoded.trades) + len(decoded.refused) <= len(frames)
    for trade in decoded.trades:
        assert trade_fits(trade.first_id, trade.last_id, trade.price, trade.quantity, trade.time)
    assert all(0 < time < 4_102_444_800_000_000 for time in decoded.event_times.values())
