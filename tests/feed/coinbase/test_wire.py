"""What Coinbase's messages say, and what is refused of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.feed_event import NewestId
from candled.domain.refusal import Refusal
from candled.domain.trade import Trade
from candled.feed.coinbase.adapter import ADAPTER
from candled.feed.coinbase.trades import format_time, parse_time
from candled.feed.coinbase.wire import HEARTBEAT_LAG, decode_frames
from tests.feed.coinbase.messages import heartbeat, match
from tests.recordings import recordings

_TIME = 1_618_677_817_089_723


def test_match_is_a_trade() -> None:
    """``side`` is the maker's: where it sells, the taker bought."""
    decoded = decode_frames([match(), match(trade_id=1568269, side="buy")])
    assert decoded.trades[0] == Trade("SKL-BTC", 1568268, 1568268, 1305, 985 * 10**8, _TIME, buyer_is_maker=False)
    assert decoded.trades[1].buyer_is_maker
    assert (decoded.event_times, decoded.refused, decoded.last_trades) == ({"SKL-BTC": _TIME}, [], [])


def test_last_match_is_no_trade_of_now() -> None:
    """It is older than the subscription, and says nothing about the time."""
    decoded = decode_frames([match(type="last_match")])
    assert [trade.first_id for trade in decoded.last_trades] == [1568268]
    assert (decoded.trades, decoded.event_times) == ([], {})


def test_heartbeat_states_the_newest_id() -> None:
    """It counts for a time that much earlier, as a trade may come that much later than it."""
    decoded = decode_frames([heartbeat()])
    time = parse_time("2021-04-17T16:43:40.000000Z")
    assert decoded.newest_ids == [NewestId("SKL-BTC", 20, time - HEARTBEAT_LAG)]
    assert decoded.event_times == {"SKL-BTC": time}


def test_heartbeat_of_zero_states_nothing() -> None:
    """For more than a year the exchange stated 0 in every heartbeat."""
    assert decode_frames([heartbeat(last_trade_id=0)]).newest_ids == []


def test_answers_and_unknown_kinds_are_left_alone() -> None:
    """New kinds of messages may be added at any time, as the documents say."""
    frames = ['{"type":"subscriptions","channels":[]}', '{"type":"of the future","price":7e5}']
    assert decode_frames([*frames, '{"type":"ticker","price":"1"}']).refused == []


def test_refused_subscription_is_named() -> None:
    """The reason stands in the log."""
    frame = '{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}'
    (refused,) = decode_frames([frame]).refused
    assert refused.reason is Refusal.SUBSCRIPTION
    assert "FOO-USD" in refused.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": "10000000000"}, Refusal.PRICE),
        ({"price": "9" * 30}, Refusal.PRICE),
        ({"price": "0.000000001"}, Refusal.DECIMALS),
        ({"price": "1E-7"}, Refusal.NUMBER),
        ({"price": "NaN"}, Refusal.NUMBER),
        ({"price": 1.5}, Refusal.FORM),
        ({"price": None}, Refusal.FORM),
        ({"size": "-1"}, Refusal.NUMBER),
        ({"size": "1000000000000"}, Refusal.QUANTITY),
        ({"price": "100000", "size": "10000.00000001"}, Refusal.PRODUCT),
        ({"side": "none"}, Refusal.FORM),
        ({"side": None}, Refusal.FORM),
        ({"time": "2021-04-17 16:43"}, Refusal.TIME),
        ({"time": "3000-01-01T00:00:00Z"}, Refusal.TIME),
        ({"time": "2021-04-17T16:43:37.089723+02:00"}, Refusal.TIME),
        ({"time": 1618677817}, Refusal.FORM),
        ({"time": "2021-W15-6T16:43:37Z"}, Refusal.TIME),
        ({"time": "2021-04-17T16:43:37,5Z"}, Refusal.TIME),
        ({"time": "2021-04-17T16:43:37.\u0665Z"}, Refusal.TIME),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, Any], reason: Refusal) -> None:
    """Alone, with the reason and the id, so that it is fetched."""
    decoded = decode_frames([match(**changes), match(trade_id=5)])
    assert [(bad.reason, bad.symbol, bad.first_id) for bad in decoded.refused] == [(reason, "SKL-BTC", 1568268)]
    assert [trade.first_id for trade in decoded.trades] == [5]


@pytest.mark.parametrize("trade_id", [-1, 2**63, "7", None, 1.5])
def test_id_that_cannot_be_is_refused(trade_id: object) -> None:
    """Without an id: the next one shows the gap."""
    (refused,) = decode_frames([match(trade_id=trade_id)]).refused
    assert not refused.has_ids


@pytest.mark.parametrize(
    "frame",
    [
        match()[:-1] + ', "price": "1"}',
        match()[:-1] + ', "x": {"a": 1, "a": 2}}',
        heartbeat()[:-1] + ', "time": "x"}',
        match().replace("16:43:37", "16\\u003a43\\u003a37")[:-1] + ', "size": "1", "side": "buy"}',
        match(time="2021-04-17T164337.08972Z")[:-1] + ', "price": "1", "size": "1"}',
        heartbeat(last_trade_id=None)[:-1] + ', "product_id": "SKL-BTC"}',
    ],
)
def test_doubled_keys_are_refused(frame: str) -> None:
    """Which of the values counts is anybody's guess."""
    decoded = decode_frames([frame])
    assert len(decoded.refused) == 1
    assert (decoded.trades, decoded.newest_ids) == ([], [])


@pytest.mark.parametrize(
    "changes", [{"time": "soon"}, {"last_trade_id": 2**63}, {"last_trade_id": -2}, {"product_id": ""}]
)
def test_wrong_heartbeats_are_refused(changes: dict[str, Any]) -> None:
    """They state nothing then."""
    decoded = decode_frames([heartbeat(**changes)])
    assert len(decoded.refused) == 1
    assert (decoded.newest_ids, decoded.event_times) == ([], {})


@given(
    st.text()
    | st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(json.dumps)
)
def test_no_frame_raises(frame: str | bytes) -> None:
    """Whatever it is."""
    decode_frames([frame])


@given(st.integers(1_262_304_000_000_000, 4_102_444_799_999_999))
def test_times_are_exact(time: int) -> None:
    """To the microsecond, and back."""
    assert parse_time(format_time(time)) == time


@pytest.mark.parametrize(
    ("text", "micro"),
    [("27.821", 27_821_000), ("27.8", 27_800_000), ("27", 27_000_000), ("27.123456789", 27_123_456)],
)
def test_times_have_any_decimals(text: str, micro: int) -> None:
    """REST leaves out zeros at the end; nanoseconds are cut off."""
    assert parse_time(f"2020-12-30T13:45:{text}Z") % 60_000_000 == micro


def test_subscriptions_name_one_product_each() -> None:
    """A product that is gone fails the subscription of its message, and of no other."""
    subscription = ADAPTER.subscribe("wss://a/", ["BTC-USD", "ETH-USD"])
    assert subscription.url == "wss://a/"
    assert [json.loads(message) for message in subscription.messages] == [
        {"type": "subscribe", "product_ids": [product], "channels": ["matches", "heartbeat"]}
        for product in ("BTC-USD", "ETH-USD")
    ]


def test_recorded_messages_are_all_taken() -> None:
    """None of a recording is refused, and ids are contiguous in each product from the last match on."""
    path = recordings("coinbase") / "ws_matches_20210417T164337.jsonl"
    decoded = decode_frames(json.dumps(json.loads(line)["msg"]) for line in path.read_text().splitlines())
    assert decoded.refused == []
    assert (len(decoded.trades), len(decoded.last_trades)) == (97, 10)
    for last in decoded.last_trades:
        ids = [trade.first_id for trade in decoded.trades if trade.symbol == last.symbol]
        assert ids == list(range(last.first_id + 1, last.first_id + 1 + len(ids)))
