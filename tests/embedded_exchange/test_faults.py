"""Faults on request: each does what it says, and a seed repeats it."""

import json
from itertools import pairwise

import httpcore
import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from candled.embedded_exchange.core import Limits
from candled.embedded_exchange.faults import Fault, Faults, parse_faults
from tests.embedded_exchange.worlds import NOON, Subscriber, close_code, open_world, synthetic


async def take_ids(client: Subscriber, count: int, symbol: str = "BTCUSDT") -> list[int]:
    messages = await client.take(count)
    return [message["t"] for message in messages if message["s"] == symbol]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lose=0.001", Fault("lose", rate=0.001)),
        ("late=0.1", Fault("late", rate=0.1)),
        ("late=0.1/500ms", Fault("late", rate=0.1, seconds=0.5)),
        ("cut=30s", Fault("cut", seconds=30)),
        ("cut", Fault("cut")),
        ("stall", Fault("stall")),
        ("stall:BTCUSDT=2m", Fault("stall", "BTCUSDT", seconds=120)),
        ("stall:BTCUSDT=off", Fault("stall", "BTCUSDT", off=True)),
        ("halt:ETHUSDT", Fault("halt", "ETHUSDT")),
        ("rest_lag=1.5s", Fault("rest_lag", seconds=1.5)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_faults(text) == [fault]


def test_a_list_of_faults_is_read() -> None:
    assert [fault.name for fault in parse_faults("cut=30s, lose=0.001 ,")] == ["cut", "lose"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("explode", "unknown fault 'explode': choose from .*lose"),
        ("lose", "lose needs a value: write lose=0.01"),
        ("lose=2", "chance from 0 to 1"),
        ("lose=often", "chance from 0 to 1"),
        ("cut=soon", "needs a time like"),
        ("rest_lag", "needs a value: write rest_lag=5s"),
        ("lose:BTCUSDT=0.1", "not for a single symbol"),
        ("lose=0.1/5s", "takes a rate alone"),
        ("halt", "needs a symbol"),
        ("delist", "needs a symbol"),
    ],
)
def test_unknown_fault_is_refused_with_a_message(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_faults(text)


async def test_lost_messages_leave_holes_that_rest_fills(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="lose=0.1")) as world:
        ids = await take_ids(await world.subscribe("/ws/btcusdt@trade"), 500)
        missing = sorted(set(range(ids[0], ids[-1])) - set(ids))
        assert 20 < len(missing) < 100
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={missing[0]}&limit=1")
        assert rows[0]["id"] == missing[0]


async def test_doubled_messages_come_twice(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="double=0.2")) as world:
        ids = await take_ids(await world.subscribe("/ws/btcusdt@trade"), 300)
        assert 20 < sum(before == after for before, after in pairwise(ids)) < 100
        assert sorted(set(ids)) == list(range(ids[0], ids[-1] + 1))


async def test_reordered_messages_come_after_the_next(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="reorder=0.1")) as world:
        ids = await take_ids(await world.subscribe("/ws/btcusdt@trade"), 300)
        assert ids != sorted(ids)
        assert all(abs(number - (ids[0] + place)) <= 2 for place, number in enumerate(ids))


async def test_late_messages_arrive_eventually(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="late=0.1/5s")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        ids, latest = [], 0.0
        began = trio.current_time()
        for _ in range(300):
            message = await client.next()
            ids.append(message["t"])
            latest = max(latest, trio.current_time() - began - (message["T"] - NOON // 1000) / 1000)
        assert latest == pytest.approx(5, abs=0.1)
        seen = set(ids)
        assert all(number in seen for number in range(min(ids), sorted(ids)[250]))


async def test_malformed_messages_are_not_json(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="malformed=0.2")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        bad = 0
        for _ in range(100):
            try:
                json.loads(await client.connection.get_message())
            except json.JSONDecodeError:
                bad += 1
        assert 5 < bad < 40


async def test_half_a_frame_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="half=0.05")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        with pytest.raises(ConnectionClosed):
            await client.take(1000)


async def test_connections_are_cut_after_the_given_time(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="cut=30s")) as world:
        began = trio.current_time()
        with pytest.raises(ConnectionClosed) as closed:
            await (await world.subscribe("/ws/btcusdt@trade")).take(10_000)
        assert 15 <= trio.current_time() - began <= 45
        assert close_code(closed.value) == 1006, "without a word"


async def test_commanded_cut_ends_every_connection(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        clients = [await world.subscribe("/ws/btcusdt@trade") for _ in range(2)]
        await trio.sleep(1)
        assert world.exchange.sessions == 2
        assert (await world.command("cut")).status == 200
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await client.take(100)
        await trio.testing.wait_all_tasks_blocked()
        assert world.exchange.sessions == 0
        await (await world.subscribe("/ws/btcusdt@trade")).next()


async def test_shutdown_is_announced_before_the_close(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(limits=Limits(shutdown_notice_s=7))) as world:
        client = await world.subscribe("/stream?streams=btcusdt@trade")
        await client.next()
        await world.command("shutdown")
        while (message := await client.next())["stream"] != "!serverShutdown":
            pass
        assert message["data"]["e"] == "serverShutdown"
        announced = trio.current_time()
        with pytest.raises(ConnectionClosed) as closed:
            await client.take(1000)
        assert trio.current_time() - announced == pytest.approx(7, abs=0.1)
        assert close_code(closed.value) == 1001


async def test_stall_silences_one_symbol(autojump_clock: MockClock) -> None:
    """A stalled symbol is silent while the others continue."""
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/stream?streams=btcusdt@trade/ethusdt@trade")
        await world.command("stall:BTCUSDT=30s")
        began = trio.current_time()
        while (message := (await client.next())["data"])["s"] != "BTCUSDT":
            pass
        assert trio.current_time() - began >= 30
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={message['t'] - 1}&limit=1")
        assert rows[0]["id"] == message["t"] - 1, "what was not sent happened all the same"


async def test_a_full_stall_leaves_the_connection_open(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="stall")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        with trio.move_on_after(120) as waited:
            await client.next()
        assert waited.cancelled_caught
        await world.command("stall=off")
        await client.next()


async def test_no_pongs(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="nopong")) as world:
        client = await world.subscribe("/ws")
        with trio.move_on_after(30) as waited:
            await client.connection.ping()
        assert waited.cancelled_caught
        await world.command("nopong=off")
        await client.connection.ping(b"again")


async def test_connections_can_be_refused(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="refuse")) as world:
        assert await world.upgrade("/ws") == 503
        await world.command("refuse=off")
        assert await world.upgrade("/ws") == 101


@pytest.mark.parametrize("status", [500, 429, 418])
async def test_requests_fail_at_the_given_rate(autojump_clock: MockClock, status: int) -> None:
    async with open_world(synthetic(faults=f"rest_{status}=0.5")) as world:
        answers = [await world.request("/api/v3/time") for _ in range(40)]
        assert 8 < sum(answer.status == status for answer in answers) < 32
        failed = next(answer for answer in answers if answer.status == status)
        assert json.loads(failed.content)["code"] == (-1000 if status == 500 else -1003)
        assert (b"Retry-After" in dict(failed.headers)) == (status != 500)


@pytest.mark.parametrize(
    ("field", "value", "sent"),
    [
        ("price", "1E-7", '"p":"1E-7"'),
        ("quantity", "NaN", '"q":"NaN"'),
        ("id", "9223372036854775808", '"t":9223372036854775808,'),
        ("time", "-1", '"T":-1,'),
    ],
)
async def test_field_takes_the_given_value(autojump_clock: MockClock, field: str, value: str, sent: str) -> None:
    """In the place of the true value, in quotes if that has them; other fields stay."""
    async with open_world(synthetic(faults=f"say_{field}={value}")) as world:
        text = await (await world.subscribe("/ws/btcusdt@trade")).connection.get_message()
    assert sent in text
    assert len(json.loads(text)) == 9


async def test_a_field_can_be_missing_or_doubled(autojump_clock: MockClock) -> None:
    """Neither breaks the JSON round it."""
    async with open_world(synthetic(faults="say_price=missing,say_time=doubled")) as world:
        text = await (await world.subscribe("/ws/btcusdt@trade")).connection.get_message()
    assert "p" not in json.loads(text)
    assert str(text).count('"T":') == 2


async def test_streams_and_rest_lie_about_the_same_trades(autojump_clock: MockClock) -> None:
    """The rate is drawn by the trade's id; what is not drawn is sent unchanged."""
    async with open_world(synthetic(faults="say_price=NaN/0.3,rest_say_price=NaN/0.3")) as world:
        messages = await (await world.subscribe("/ws/btcusdt@trade")).take(50)
        lied = {message["t"] for message in messages if message["p"] == "NaN"}
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={messages[0]['t']}&limit=50")
        assert 3 < len(lied) < 30
        assert {row["id"] for row in rows if row["price"] == "NaN" and row["id"] <= messages[-1]["t"]} == lied


async def test_headers_take_the_given_values(autojump_clock: MockClock) -> None:
    """The used weight of every answer, and the wait of those that have one."""
    async with open_world(synthetic(faults="rest_weight=many,rest_retry=-5,rest_429=1")) as world:
        refused = dict((await world.request("/api/v3/time")).headers)
        await world.command("rest_429=off")
        answered = dict((await world.request("/api/v3/time")).headers)
    assert refused[b"Retry-After"] == b"-5"
    assert answered[b"x-mbx-used-weight-1m"] == b"many"


@pytest.mark.parametrize("text", ["say_price=1E-7", "say_id=5/0.01", "rest_say_time=missing", "rest_retry=-5"])
def test_faults_are_shown_as_commanded(text: str) -> None:
    """What ``GET /faults`` shows can be sent again."""
    faults = Faults(1)
    for fault in parse_faults(text):
        faults.set(fault, 0.0)
    assert str(faults) == text


async def test_half_an_answer_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="rest_half=1")) as world:
        with pytest.raises(httpcore.RemoteProtocolError):
            await world.request("/api/v3/trades?symbol=BTCUSDT")


async def test_rest_lags_behind_the_stream(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="rest_lag=3s")) as world:
        message = await (await world.subscribe("/ws/btcusdt@trade")).next()
        target = f"historicalTrades?symbol=BTCUSDT&fromId={message['t']}&limit=1"
        assert await world.get(target) == []
        await trio.sleep(3)
        assert (await world.get(target))[0]["id"] == message["t"]


async def test_answers_can_be_slow(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="rest_delay=4s")) as world:
        began = trio.current_time()
        await world.get("time")
        assert trio.current_time() - began == pytest.approx(4)


async def test_rest_lacks_unfillable_ids(autojump_clock: MockClock) -> None:
    """Unfillable ids are sent on the stream once; REST never has them."""
    async with open_world(synthetic(faults="unfillable=0.3")) as world:
        ids = await take_ids(await world.subscribe("/ws/btcusdt@trade"), 600)
        assert ids == list(range(ids[0], ids[-1] + 1))
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={ids[0]}&limit=600")
        had = {row["id"] for row in rows}
        missing = [number for number in ids if number not in had]
        assert 100 < len(missing) < 400
        aggregates = await world.get(f"aggTrades?symbol=BTCUSDT&startTime={NOON // 1000}")
        assert not any(row["f"] <= number <= row["l"] for row in aggregates for number in missing)


async def test_placeholders_take_an_id_but_are_no_trade(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="placeholder=0.3", at=NOON + 60_000_000)) as world:
        kline = (await world.get(f"klines?symbol=BTCUSDT&interval=1m&startTime={NOON // 1000}&limit=1"))[0]
        aggregates = await world.get(f"aggTrades?symbol=BTCUSDT&startTime={NOON // 1000}&endTime={kline[6]}")
        assert any((row["f"], row["l"], row["p"]) == (-1, -1, "0.00000000") for row in aggregates)
        first = min(row["f"] for row in aggregates if row["f"] >= 0)
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={first}&limit=1000")
        inside = [row for row in rows if kline[0] <= row["time"] <= kline[6]]
        empty = [row for row in inside if row["price"] == "0.00000000"]
        assert empty
        assert kline[8] == len(inside) - len(empty)


async def test_skipped_ids_do_not_exist_anywhere(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="skip=0.1")) as world:
        ids = await take_ids(await world.subscribe("/ws/btcusdt@trade"), 300)
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={ids[0]}&limit=300")
        assert [row["id"] for row in rows] == ids
        assert ids != list(range(ids[0], ids[-1] + 1))
        assert world.exchange.lacks("BTCUSDT", ids[0], ids[-1])
        assert [n for n in range(ids[0], ids[-1]) if not world.exchange.lacks("BTCUSDT", n, n)] == ids[:-1]


async def test_market_faults_keep_the_past(autojump_clock: MockClock) -> None:
    """A fault of the market changes nothing before its time."""
    async with open_world(synthetic()) as world:
        noon = NOON // 1000
        target = f"klines?symbol=BTCUSDT&interval=1m&startTime={noon - 600_000}&endTime={noon + 299_000}"
        await trio.sleep(120)
        await world.command("placeholder=0.5,skip=0.3")
        early = (await world.get(target))[:12]
        await trio.sleep(180)
        rows = await world.get("trades?symbol=BTCUSDT&limit=20")
        assert any(row["price"] == "0.00000000" for row in rows)
        hurt = await world.get(target)
        assert hurt[:12] == early
        await world.command("clear")
        await trio.sleep(60)
        assert await world.get(target) == hurt


async def test_ids_continue_after_a_halt(autojump_clock: MockClock) -> None:
    """A halted symbol is not traded, and continues with the next id."""
    async with open_world(synthetic()) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        before = await client.take(20)
        await world.command("halt:BTCUSDT")
        status = {s["symbol"]: s["status"] for s in (await world.get("exchangeInfo"))["symbols"]}
        assert status == {"BTCUSDT": "HALT", "ETHUSDT": "TRADING", "PEPEUSDT": "TRADING"}
        with trio.move_on_after(200) as waited:
            after = await client.next()
            assert after["t"] == before[-1]["t"] + 1, "already on its way"
        assert waited.cancelled_caught
        minutes = await world.get(f"klines?symbol=BTCUSDT&interval=1m&startTime={NOON // 1000 + 120_000}")
        assert minutes == [], "no klines of minutes in which it could not be traded"
        await world.command("halt:BTCUSDT=off")
        resumed = await client.take(5)
        last = before[-1]["t"]
        assert [message["t"] for message in resumed] == list(range(last + 1, last + 6))
        rows = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={last}&limit=3")
        assert [row["id"] for row in rows] == [last, last + 1, last + 2]
        assert rows[1]["time"] - rows[0]["time"] >= 200_000


async def test_a_seed_repeats_the_faults_of_a_connection(autojump_clock: MockClock) -> None:
    async def run(seed: int) -> list[int]:
        async with open_world(synthetic(seed=seed, faults="lose=0.1,double=0.1,reorder=0.1")) as world:
            return await take_ids(await world.subscribe("/ws/btcusdt@trade"), 200)

    assert await run(1) == await run(1)
    assert await run(1) != await run(2)


async def test_faults_are_shown_and_cleared_over_http(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(faults="lose=0.1,stall:BTCUSDT")) as world:
        shown = json.loads((await world.request("/faults")).content)
        assert shown["faults"] == "lose=0.1,stall:BTCUSDT"
        cleared = json.loads((await world.command("clear")).content)
        assert cleared["faults"] == ""
        bad = await world.command("explode")
        assert bad.status == 400
        assert "choose from" in json.loads(bad.content)["error"]
        assert (await world.command("stall:NOPE")).status == 400


async def test_delisted_symbol_is_unknown(autojump_clock: MockClock) -> None:
    """REST does not know a delisted symbol until it is listed again."""
    async with open_world(synthetic()) as world:
        await world.command("delist:BTCUSDT")
        assert [s["symbol"] for s in (await world.get("exchangeInfo"))["symbols"]] == ["ETHUSDT", "PEPEUSDT"]
        assert (await world.error("aggTrades?symbol=BTCUSDT"))[1] == -1121
        await world.command("delist:BTCUSDT=off")
        assert (await world.get("exchangeInfo?symbol=BTCUSDT"))["symbols"][0]["status"] == "TRADING"
