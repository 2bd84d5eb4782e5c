"""Whatever a client sends, the exchange answers it or drops it, and serves the next one."""

import json
from urllib.parse import quote

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from candled.embedded_exchange.rest_side import Request
from tests.embedded_exchange.worlds import UPGRADE, open_world, synthetic

PATHS = ("ping", "time", "exchangeInfo", "trades", "historicalTrades", "aggTrades", "klines")
NAMES = ("symbol", "symbols", "interval", "limit", "fromId", "startTime", "endTime", "timeZone", "other")
VALUES = st.one_of(
    st.sampled_from(
        ["BTCUSDT", "PEPEUSDT", "1m", "1M", "1w", '["BTCUSDT"]', "[1]", "0", "1", "-1", "1e3", "٣", ""]
    ),
    st.integers(0, 10**19).map(str),
    st.text(max_size=8),
)
QUERIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
MESSAGES = st.one_of(
    st.text(max_size=40),
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(
                ["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"]
            ),
            "params": st.one_of(
                st.lists(st.one_of(st.text(max_size=9), st.booleans(), st.none()), max_size=3), st.text()
            ),
            "id": st.one_of(st.none(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        }
    ).map(json.dumps),
    st.sampled_from(['{"method":"SUBSCRIBE","params":["\\ud800"],"id":1}', "[]", "1", "null", '{"method":1}']),
)


@settings(max_examples=120, deadline=None)
@given(path=st.sampled_from(PATHS), query=QUERIES)
def test_every_query_has_an_answer_in_json(path: str, query: dict[str, str]) -> None:
    async def main() -> None:
        exchange = synthetic(rate=0.01)
        text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        # A query may ask for a thousand months, which is honest work: it is cut short, which must be clean too.
        with trio.move_on_after(0) if "1M" in text or "1w" in text else trio.CancelScope():
            answer = await exchange.rest.answer(Request(method="GET", path=f"/api/v3/{path}", query=text))
            assert answer.status in {200, 400}
            json.loads(answer.body)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60, deadline=None)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4))
def test_every_control_message_is_answered(messages: list[str]) -> None:
    async def main() -> None:
        async with open_world(synthetic(rate=0.001)) as world:
            client = await world.subscribe("/ws")
            for message in messages:
                await client.send(message)
                answer = await client.next()
                while "result" not in answer and "error" not in answer:
                    answer = await client.next()
                await trio.sleep(1)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_bytes_that_are_no_protocol_do_no_harm(pieces: list[bytes]) -> None:
    async def main() -> None:
        async with open_world(synthetic(rate=0.001)) as world:
            for beginning in (b"", UPGRADE, UPGRADE.replace(b"Host: exchange", b"Host: \xff\xfe..")):
                stream = await world.memory.connect()
                try:
                    for piece in (beginning, *pieces):
                        await stream.send_all(piece)
                        await trio.testing.wait_all_tasks_blocked()
                except trio.BrokenResourceError:
                    pass  # it was dropped, as it may be
                await stream.aclose()
            await world.get("ping")

    trio.run(main, clock=MockClock(autojump_threshold=0))
