"""Lies on request: each says something else than the market, and a seed repeats it."""

import json
from pathlib import Path
from random import Random

import pytest
import trio
from trio_websocket import ConnectionClosed

from candled.embedded_exchange.coinbase.wire import heartbeat_event
from candled.embedded_exchange.faults import HELP, Fault, Faults, parse_faults
from candled.embedded_exchange.kinds import KINDS, LIES
from candled.embedded_exchange.lies.contradictions import contradict_kline, wrong_kline
from candled.embedded_exchange.lies.fields import FIELD_LIES, ids_of
from candled.embedded_exchange.lies.heartbeats import newest_id_of, wrong_heartbeat
from candled.embedded_exchange.lies.liar import Liar
from tests.embedded_exchange.worlds import open_world, synthetic

TRADE = (
    '{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"100.00000000","q":"2.00000000","T":1700000000,"m":true,"M":true}'
)
AGGREGATE = '{"a":3,"p":"100.00000000","q":"2.00000000","f":7,"l":9,"T":1700000000000,"m":true,"M":true}'
ROW = (
    '{"id":7,"price":"100.00000000","qty":"2.00000000","quoteQty":"200.00000000","time":1700000000000,'
    '"isBuyerMaker":true,"isBestMatch":true}'
)
MATCH = (
    '{"trade_id":7,"side":"sell","size":"2.00000000","price":"100.00000000","time":"2026-01-01T00:00:00.000000Z"}'
)
KLINE = (
    '[1700000000000,"1.00000000","2.00000000","0.50000000","1.50000000","9.00000000",1700000059999,'
    '"13.00000000",4,"1.00000000","2.00000000","0"]'
)


def liar(faults: str, seed: int = 1) -> Liar:
    on = Faults(seed)
    for fault in parse_faults(faults):
        on.set(fault, 0.0)
    return Liar(on)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_is_documented(name: str) -> None:
    """Each fault stands in the help and in the document of the exchange."""
    assert f"  {name}" in HELP
    assert f"`{name}" in Path("docs/exchange.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(LIES))
def test_adversary_includes_every_lie(name: str) -> None:
    """Its rate is that of each lie which is not on by itself."""
    faults = Faults(1)
    faults.set(Fault("adversary", rate=0.1), 0.0)
    assert faults.rate(name) == 0.1
    assert faults.touches_messages
    faults.set(Fault(name, rate=0.5), 0.0)
    assert faults.rate(name) == 0.5


@pytest.mark.parametrize("text", [TRADE, AGGREGATE, ROW])
@pytest.mark.parametrize("name", sorted(FIELD_LIES))
def test_a_field_lie_changes_the_text(name: str, text: str) -> None:
    """Most draws give another text, and many different ones."""
    altered = {FIELD_LIES[name](text, Random(seed)) for seed in range(60)}
    assert len(altered - {text}) > 3


@pytest.mark.parametrize("text", [TRADE, AGGREGATE, ROW, MATCH])
def test_a_wrong_type_is_json(text: str) -> None:
    """One row of another type leaves the page readable, whatever its form writes in quotes."""
    for seed in range(100):
        json.loads(FIELD_LIES["wrong_type"](text, Random(seed)))


@pytest.mark.parametrize("text", [TRADE, AGGREGATE, ROW])
def test_a_wrong_id_keeps_the_form(text: str) -> None:
    """Ids are others and nothing else is; an aggregate keeps its number of trades where it can."""
    for seed in range(20):
        altered = FIELD_LIES["wrong_id"](text, Random(seed))
        ids = ids_of(altered)
        assert ids is not None
        assert ids != ids_of(text)
        assert len(json.loads(altered)) == len(json.loads(text))


@pytest.mark.parametrize("prefix", ["", "rest_"])
def test_contradictions_are_plausible(prefix: str) -> None:
    """Exactly one of price, quantity and side differs, and is of the form that it had."""
    lying, text = liar(f"{prefix}contradict=1"), ROW if prefix else TRADE
    altered = lying.of_row("BTCUSDT", text) if prefix else lying.of_message(1, "BTCUSDT", text)[0]
    true, changed = json.loads(text), json.loads(altered)
    assert changed.keys() == true.keys()
    assert sum(changed[key] != true[key] for key in true) == 1


def test_connections_contradict_each_other() -> None:
    """Of many trades, two connections do not lie about the same ones."""
    lying = liar("contradict=0.5")
    texts = [TRADE.replace('"t":7', f'"t":{number}') for number in range(50)]
    altered = [[lying.of_message(connection, "BTCUSDT", text) for text in texts] for connection in (1, 2)]
    assert altered[0] != altered[1]


def test_seed_decides_the_lies() -> None:
    """The same seed says the same, another one something else."""
    texts = [TRADE.replace('"t":7', f'"t":{number}') for number in range(200)]

    def messages(seed: int) -> list[list[str]]:
        lying = liar("adversary=0.05,huge=0", seed)
        return [lying.of_message(1, "BTCUSDT", text) for text in texts]

    assert messages(1) == messages(1)
    assert messages(1) != messages(2)


def test_a_twin_has_another_price() -> None:
    """The second message of a trade differs from the first."""
    first, second = liar("twin=1").of_message(1, "BTCUSDT", TRADE)
    assert first == TRADE
    assert json.loads(first)["p"] != json.loads(second)["p"]


def test_lies_are_reported() -> None:
    """A test learns which lie it was, of which ids."""
    lying, reported = liar("wrong_value=1,rest_contradict_kline=1"), []
    lying.on_lie = lambda *lie: reported.append(lie)
    lying.of_message(1, "BTCUSDT", TRADE)
    lying.of_kline("BTCUSDT", 60_000_000, KLINE)
    assert reported == [
        ("wrong_value", "BTCUSDT", 7, 7),
        ("rest_contradict_kline", "BTCUSDT", 60_000_000, 60_000_000),
    ]


def test_klines_contradict_trades_or_themselves() -> None:
    """The first are consistent in themselves, the second have no such form or sense."""
    for seed in range(30):
        other = json.loads(contradict_kline(KLINE, Random(seed)))
        assert other != json.loads(KLINE)
        assert float(other[3]) <= float(other[1]) <= float(other[2])
    assert len({wrong_kline(KLINE, Random(seed)) for seed in range(60)}) > 10


@pytest.mark.parametrize("fault", ["rest_huge", "rest_wrong_answer", "rest_wrong_header", "rest_wrong_order"])
async def test_answers_lie(autojump_clock: trio.testing.MockClock, fault: str) -> None:
    """Of some requests, and what is asked without the fault is answered truly."""
    path = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=100&limit=20"
    async with open_world(synthetic()) as world:
        truth = await world.request(path)
        await world.command(f"{fault}=0.5")
        answers = [await world.request(path) for _ in range(30)]
        await world.command("clear")
        again = await world.request(path)

    def without_weight(answer: object) -> list[tuple[bytes, bytes]]:
        return [header for header in answer.headers if not header[0].startswith(b"x-mbx-used")]  # type: ignore[attr-defined]

    if fault == "rest_wrong_header":
        odd = [answer for answer in answers if without_weight(answer) != without_weight(truth)]
    else:
        odd = [answer for answer in answers if answer.content != truth.content]
    assert 3 < len(odd) < 28
    assert again.content == truth.content


async def test_an_answer_without_end_trickles(autojump_clock: trio.testing.MockClock) -> None:
    """It is not whole after five minutes."""
    async with open_world(synthetic(faults="rest_endless=1")) as world:
        with trio.move_on_after(300) as waited:
            await world.request("/api/v3/time")
    assert waited.cancelled_caught


async def test_a_message_without_end_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    """A client with a limit ends the connection."""
    async with open_world(synthetic(faults="endless=0.2")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        with pytest.raises(ConnectionClosed):
            await client.take(1000)


async def test_a_huge_message_passes_limits(autojump_clock: trio.testing.MockClock) -> None:
    """A client that takes a mebibyte ends the connection."""
    async with open_world(synthetic(faults="huge=1")) as world:
        client = await world.subscribe("/ws/btcusdt@trade")
        with pytest.raises(ConnectionClosed):
            await client.take(1)


def test_wrong_heartbeats_differ() -> None:
    """Ids before and after the true one, none, and no time; what is no heartbeat stays as it is."""
    heartbeat = heartbeat_event("BTC-USD", 5_000, 1_790_000_000_000_000)
    altered = {wrong_heartbeat(heartbeat, Random(seed)) for seed in range(100)}
    stated = {newest_id_of(text) for text in altered}
    assert len(altered) > 10
    assert {None, 4_999, 5_003, 6_000} <= stated
    assert wrong_heartbeat(TRADE, Random(1)) == TRADE


def test_heartbeats_are_lied_about_by_rate() -> None:
    """Each by itself, and it is noted which id was true."""
    lying = liar("wrong_heartbeat=0.5")
    noted: list[tuple[str, str, int, int]] = []
    lying.on_lie = lambda *what: noted.append(what)
    texts = [heartbeat_event("BTC-USD", 7, second * 1_000_000) for second in range(100)]
    altered = [lying.of_message(1, "BTC-USD", text)[0] for text in texts]
    assert 20 < sum(text != true for text, true in zip(altered, texts, strict=True)) < 80
    assert set(noted) == {("wrong_heartbeat", "BTC-USD", 7, 7)}


@pytest.mark.parametrize("text", [TRADE, AGGREGATE, ROW])
def test_noted_ids_cover_their_trades(text: str) -> None:
    """Also where another lie was about the same field: a judge adds them to its sets of ids."""
    sizes = set()
    for seed in range(300):
        lying = liar("rest_wrong_value=1,rest_wrong_id=1", seed)
        lying.on_lie = lambda _name, _symbol, first, last: sizes.add(last - first)
        lying.of_row("BTCUSDT", text)
    first, last = ids_of(text) or (0, 0)
    assert sizes == {last - first}
