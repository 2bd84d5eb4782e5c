"""Streams in the original's forms, over memory."""

import json
from decimal import Decimal
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from candled.embedded_exchange.core import Limits
from tests.embedded_exchange.worlds import MINUTE, NOON, UPGRADE, close_code, kline_of_row, open_world, synthetic


async def test_several_symbols_in_order(autojump_clock: MockClock) -> None:
    """Trades of several symbols come complete, in the order of their ids."""
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/stream?streams=btcusdt@trade/ethusdt@trade/pepeusdt@trade")
        messages = await client.take(800)
        for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT"):
            own = [message["data"] for message in messages if message["data"]["s"] == symbol]
            assert len(own) > 5
            assert all(after["t"] == before["t"] + 1 for before, after in pairwise(own))
        assert all(after["data"]["E"] >= before["data"]["E"] for before, after in pairwise(messages))
        assert {message["stream"] for message in messages} == {
            "btcusdt@trade", "ethusdt@trade", "pepeusdt@trade"
        }  # fmt: skip


async def test_trade_has_the_original_fields(autojump_clock: MockClock) -> None:
    """A trade message has the fields of the real exchange's."""
    async with open_world(synthetic()) as world:
        message = await (await world.subscribe("/ws/btcusdt@trade")).next()
        assert list(message) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
        assert (message["e"], message["s"], message["M"]) == ("trade", "BTCUSDT", True)
        row = (await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={message['t']}&limit=1"))[0]
        assert (row["price"], row["qty"], row["time"], row["isBuyerMaker"]) == tuple(message[k] for k in "pqTm")


async def test_an_aggregate_message_is_the_row_of_rest(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws/btcusdt@aggTrade")
        messages = await client.take(100)
        assert list(messages[0]) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]
        rows = await world.get(f"aggTrades?symbol=BTCUSDT&fromId={messages[0]['a']}&limit=100")
        assert [{key: message[key] for key in row} for message, row in zip(messages, rows, strict=True)] == rows


async def test_last_kline_message_equals_rest(autojump_clock: MockClock) -> None:
    """The last kline message of a minute equals REST's kline."""
    async with open_world(synthetic(at=NOON + 10_000_000)) as world:
        client = await world.subscribe("/ws/btcusdt@kline_1m")
        messages = [await client.next()]
        while not messages[-1]["k"]["x"]:
            messages.append(await client.next())
        assert list(messages[0]["k"]) == list("tTsifLochlvnxqVQB")
        counts = [message["k"]["n"] for message in messages]
        assert counts == sorted(counts)
        assert len(messages) == 25, "every two seconds"
        last = messages[-1]["k"]
        row = (await world.get(f"klines?symbol=BTCUSDT&interval=1m&startTime={NOON // 1000}&limit=1"))[0]
        assert [last[key] for key in "tohlcvTqnVQ"] == row[:11]
        trades = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={last['f']}&limit={last['n']}")
        assert trades[-1]["id"] == last["L"]


async def test_empty_kline_has_no_ids(autojump_clock: MockClock) -> None:
    """The kline of an empty minute states no trade ids."""
    async with open_world(synthetic(speed=10)) as world:
        client = await world.subscribe("/ws/pepeusdt@kline_1m")
        while True:
            kline = (await client.next())["k"]
            if kline["x"] and kline["n"] == 0:
                break
        assert (kline["f"], kline["L"]) == (-1, -1)
        assert kline["o"] == kline["h"] == kline["l"] == kline["c"]
        assert Decimal(kline["v"]) == Decimal(kline["q"]) == 0


async def test_microseconds_on_request(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/stream?streams=btcusdt@trade/btcusdt@kline_1m&timeUnit=MICROSECOND")
        kline = trade = None
        while kline is None or trade is None:
            data = (await client.next())["data"]
            kline, trade = (data, trade) if data["e"] == "kline" else (kline, data)
        assert trade["T"] > 10**15
        assert kline["k"]["T"] == kline["k"]["t"] + MINUTE - 1


async def test_subscribing_while_connected(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws")
        assert await client.ask("SUBSCRIBE", "btcusdt@trade", "ethusdt@aggTrade") == {"result": None, "id": 7}
        listed = await client.ask("LIST_SUBSCRIPTIONS")
        assert listed["result"] == ["btcusdt@trade", "ethusdt@aggTrade"]
        assert {message["s"] for message in await client.take(50)} == {"BTCUSDT", "ETHUSDT"}
        await trio.sleep(1)
        await client.ask("UNSUBSCRIBE", "btcusdt@trade")
        assert {message["s"] for message in await client.take(50)} == {"ETHUSDT"}


async def test_raw_and_combined_forms_can_be_changed(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        assert (await client.ask("GET_PROPERTY", "combined"))["result"] is False
        await client.ask("SET_PROPERTY", "combined", True)
        assert (await client.next())["stream"] == "btcusdt@trade"


async def test_unknown_streams_are_taken_and_stay_silent(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/stream?streams=nopeusdt@trade/btcusdt@nope/BTCUSDT@trade")
        with trio.move_on_after(15) as waited:
            await client.next()
        assert waited.cancelled_caught
        assert len((await client.ask("LIST_SUBSCRIPTIONS"))["result"]) == 3


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 3),
        ('{"id": 7}', 2),
        ('{"method": "SHOUT", "id": 7}', 2),
        ('{"method": "SUBSCRIBE", "params": [1], "id": 7}', 2),
        ('{"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 7}', 2),
        ('{"method": "GET_PROPERTY", "params": ["colour"], "id": 7}', 0),
        ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 7}', 1),
    ],
)
async def test_bad_control_messages_are_answered_with_an_error(
    autojump_clock: MockClock, message: str, code: int
) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws")
        await client.send(message)
        assert (await client.next())["error"]["code"] == code
        await trio.sleep(1)
        assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [], "the connection lives on"


async def test_message_rate_is_limited(autojump_clock: MockClock) -> None:
    """More than five messages a second end the connection."""
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws")
        for _ in range(6):
            await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        with pytest.raises(ConnectionClosed) as closed:
            await client.take(6)
        assert close_code(closed.value) == 1008


async def test_a_connection_has_at_most_1024_streams(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws")
        assert "error" in await client.ask("SUBSCRIBE", *(f"s{number}@trade" for number in range(1025)))
        assert "result" in await client.ask("SUBSCRIBE", *(f"s{number}@trade" for number in range(1024)))


async def test_pings_come_every_twenty_seconds_with_a_payload(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        stream = await world.memory.connect()
        await stream.send_all(UPGRADE)
        received = b""
        with trio.move_on_after(45):
            while True:
                received += await stream.receive_some()
        assert received.count(b"\x89\x0d") == 2


async def test_unanswered_ping_cuts_the_client(autojump_clock: MockClock) -> None:
    """A client that answers no ping is cut after a minute."""
    async with open_world(synthetic()) as world:
        stream = await world.memory.connect()
        await stream.send_all(UPGRADE)
        began = trio.current_time()
        while await stream.receive_some():
            pass
        assert trio.current_time() - began == pytest.approx(80, abs=1)


async def test_connection_lives_a_day(autojump_clock: MockClock) -> None:
    """A client that answers pings is cut after a day."""
    async with open_world(synthetic(limits=Limits(ping_interval_s=600))) as world:
        client = await world.subscribe("/ws")
        began = trio.current_time()
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert trio.current_time() - began == pytest.approx(86_400, abs=1)
        assert close_code(closed.value) == 1001


async def test_only_stream_paths_can_be_upgraded(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        assert await world.upgrade("/elsewhere") == 404
        assert await world.upgrade("/ws") == 101


async def test_too_many_attempts_to_connect_are_refused(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(limits=Limits(attempts=3))) as world:
        for _ in range(3):
            await world.subscribe("/ws")
        assert await world.upgrade("/ws") == 429
        await trio.sleep(301)
        assert await world.upgrade("/ws") == 101


async def test_restart_keeps_the_ids(autojump_clock: MockClock) -> None:
    """A restarted exchange continues with the same ids."""
    async with open_world(synthetic(at=NOON)) as world:
        before = await (await world.subscribe("/ws/ethusdt@trade")).take(40)
    later = before[19]["T"] * 1000
    async with open_world(synthetic(at=later)) as world:
        again = await (await world.subscribe("/ws/ethusdt@trade")).take(20)
    seen = {message["t"]: message for message in before}
    assert again[0]["t"] in seen
    assert all(message == seen[message["t"]] for message in again if message["t"] in seen)


async def test_a_slow_reader_gets_everything_late(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(speed=600)) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        await trio.sleep(2)
        messages = await client.take(1200)
        assert all(after["t"] == before["t"] + 1 for before, after in pairwise(messages))


def test_kline_of_row_reads_the_original_order() -> None:
    row = json.loads('[0,"1","2","3","4","5",59999,"6",7,"8","9","0"]')
    assert list(kline_of_row(row).values()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
