"""Answers of the REST side: a limit of bytes and of time for each, and numbers within bounds in their headers."""

import gzip
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpcore
import pytest
import trio
from trio.testing import MockClock

from candled.domain.refusal import Refusal
from candled.feed.binance.headers import WEIGHT_MAX, retry_after, used_weight
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.binance.rest_rows import decode_klines
from candled.feed.errors import SourceRefusedError, SourceUnavailableError, UnreadableAnswerError
from candled.feed.headers import RETRY_SECONDS_MAX
from candled.feed.rest_source import Answer, read_answer

Parts = Callable[[], AsyncIterator[bytes]]
NOW = 1_700_000_000_000_000


@attrs.define
class Wire(httpcore.AsyncNetworkStream):
    """One connection, on which a server sends parts whatever is asked."""

    parts: AsyncIterator[bytes]

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        await trio.lowlevel.checkpoint()
        return await anext(self.parts, b"")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def get_extra_info(self, info: str) -> Any:
        return True if info == "is_readable" else None


@attrs.define
class Server(httpcore.AsyncNetworkBackend):
    """A network with one server."""

    answers: list[Parts]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        return Wire((self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])())

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def whole(body: bytes, status: int = 200, *headers: str) -> Parts:
    async def parts() -> AsyncIterator[bytes]:
        lines = (f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers)
        yield "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    return parts


def dripping(part: bytes, seconds: float) -> Parts:
    async def parts() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 X\r\n\r\n["
        while True:
            if seconds:
                await trio.sleep(seconds)
            yield part

    return parts


@asynccontextmanager
async def asking(*answers: Parts) -> AsyncIterator[BinanceRest]:
    async with open_rest(["http://a"], 6000, Server(list(answers))) as rest:
        yield rest


ASKED: dict[str, Callable[[BinanceRest], Any]] = {
    "time": lambda rest: rest.server_time(),
    "trades": lambda rest: rest.trades("X", 0),
    "aggregates": lambda rest: rest.aggregates_from("X", 0),
    "klines": lambda rest: rest.klines("X", 0),
    "description": lambda rest: rest.describe(["X"]),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_a_body_without_end_is_cut_off(asked: str, autojump_clock: MockClock) -> None:
    """Each kind of answer has a limit of bytes, and no more than that is ever kept."""
    async with asking(dripping(b" " * 65_536, 0)) as rest:
        tracemalloc.start()
        with pytest.raises(SourceUnavailableError, match="an answer of more than"):
            await ASKED[asked](rest)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < (150 if asked == "description" else 8) << 20


@pytest.mark.parametrize("asked", ASKED)
async def test_a_body_byte_by_byte_ends_in_time(asked: str, autojump_clock: MockClock) -> None:
    """However steadily it comes, the whole answer has its time."""
    async with asking(dripping(b" ", 1.0)) as rest:
        began = trio.current_time()
        with pytest.raises(SourceUnavailableError, match=r"no end of its answer"):
            await ASKED[asked](rest)
        assert trio.current_time() - began <= 120


@pytest.mark.parametrize(
    ("length", "is_here"), [(1000, True), (200_000, True), (500_000, False), (2_000_000, False)]
)
async def test_long_answers_are_decoded_in_a_thread(length: int, is_here: bool) -> None:
    """To decode some megabytes takes a tenth of a second and more, in which no trade would be read."""
    thread = await read_answer(Answer(200, {}, b" " * length), lambda _body: threading.get_ident())
    assert (thread == threading.get_ident()) == is_here


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_long_explanation_is_not_read(status: int) -> None:
    """Status and headers count as they do with a short one; megabytes beside them are neither kept nor decoded."""
    explanation = json.dumps({"code": -1121, "msg": "Invalid symbol.", "more": "." * 30_000_000}).encode()
    async with asking(whole(explanation, status, "retry-after: 7")) as rest:
        with pytest.raises(SourceUnavailableError, match=f"status {status}"):
            await rest.describe(["X"])
        assert rest.bytes < 1 << 17
        assert (rest._weight.blocked_for(trio.current_time()) > 6) == (status == 429)


async def test_a_long_answer_without_sense_is_unreadable() -> None:
    """What is raised in the thread is what is raised here."""
    with pytest.raises(UnreadableAnswerError, match="makes no sense"):
        await read_answer(Answer(200, {}, b"[" * (1 << 20)), lambda body: decode_klines(body, "X", 0))


async def test_a_big_answer_has_time_while_it_comes(autojump_clock: MockClock) -> None:
    """A list of 12 MB at 1 MB/s is no failure: it is silence that is limited to 10 s."""
    symbols = [
        {"symbol": f"S{number}", "status": "TRADING", "filters": [], "more": "." * 4000} for number in range(3000)
    ]
    body = json.dumps({"symbols": symbols}).encode()
    assert len(body) > 12_000_000

    async def slowly() -> AsyncIterator[bytes]:
        yield f"HTTP/1.1 200 X\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        for begin in range(0, len(body), 1_000_000):
            await trio.sleep(1.0)
            yield body[begin : begin + 1_000_000]

    async with asking(slowly) as rest:
        description = await rest.describe(["S7"])
    assert description.instruments.keys() == {"S7"}


async def test_many_symbols_are_asked_for_in_parts(autojump_clock: MockClock) -> None:
    """A hundred names at a time, so that neither the question nor an answer is long."""
    names = [f"S{number}" for number in range(250)]

    def listing(part: list[str]) -> Parts:
        rows = [{"symbol": name, "status": "TRADING", "filters": []} for name in part]
        return whole(json.dumps({"symbols": rows}).encode(), 200, "connection: close")

    async with asking(*(listing(names[begin : begin + 100]) for begin in (0, 100, 200))) as rest:
        description = await rest.describe(names)
        assert list(description.instruments) == names
        assert rest.requests == 3


async def test_a_limit_by_code_is_waited_for(autojump_clock: MockClock) -> None:
    """Code -1003 with status 429 is no refusal of the request: it is sent again after the wait."""
    body = json.dumps({"code": -1003, "msg": "Too much request weight used."}).encode()
    answers = (whole(body, 429, "retry-after: 7"), whole(b'{"serverTime":1700000000000}'))
    async with asking(*answers) as rest:
        with pytest.raises(SourceUnavailableError, match="asks to wait 7 s"):
            await rest.server_time()
        began = trio.current_time()
        assert await rest.server_time() == NOW
        assert trio.current_time() - began == 7


async def test_a_symbol_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    """Code -1121 is a refusal: asking again, or elsewhere, does not help."""
    body = json.dumps({"code": -1121, "msg": "Invalid symbol."}).encode()
    async with asking(whole(body, 400)) as rest:
        with pytest.raises(SourceRefusedError, match=r"Invalid symbol\. \(code -1121\)"):
            await rest.klines("X", 0)
        assert rest.requests == 1


async def test_a_silent_answer_is_given_up(autojump_clock: MockClock) -> None:
    """After 10 s without a byte."""
    async with asking(dripping(b"", 1000.0)) as rest:
        began = trio.current_time()
        with pytest.raises(SourceUnavailableError, match="within 10 s"):
            await rest.describe(["X"])
        assert trio.current_time() - began == 10


async def test_a_compressed_answer_is_refused(autojump_clock: MockClock) -> None:
    """None is asked for, so none is unpacked: a bomb stays packed."""
    bomb = gzip.compress(b" " * 10_000_000)
    async with asking(whole(bomb, 200, "content-encoding: gzip")) as rest:
        with pytest.raises(SourceUnavailableError, match="compressed"):
            await rest.server_time()


@pytest.mark.parametrize("status", [200, 403])
async def test_html_is_a_sentence(status: int, autojump_clock: MockClock) -> None:
    """A page in place of an answer is reported and asked for again."""
    async with asking(whole(b"<html>", status), whole(b'{"serverTime":1700000000000}')) as rest:
        with pytest.raises(SourceUnavailableError, match=r"makes no sense|without an explanation"):
            await rest.server_time()
        assert await rest.server_time() == NOW


async def test_a_header_without_end_is_cut_off(autojump_clock: MockClock) -> None:
    """The same holds for one that drips."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 X\r\n"
        while True:
            yield b"x-a: " + b"a" * 60_000 + b"\r\n"

    async with asking(endless) as rest:
        with pytest.raises(SourceUnavailableError):
            await rest.server_time()


WEIGHT = "x-mbx-used-weight-1m"
STRANGE = ["9" * 5000, "-5", "many", "1e3", "", "1.5", "\u0661\u0662", "0x10", "12 34", str(10**9)]


@pytest.mark.parametrize("value", STRANGE)
async def test_a_strange_weight_is_ignored(value: str, autojump_clock: MockClock) -> None:
    """The answer counts all the same, and the header is counted as refused."""
    header = f"{WEIGHT}: {value}".encode().decode("latin-1")
    async with asking(whole(b'{"serverTime":1700000000000}', 200, header)) as rest:
        assert await rest.server_time() == NOW
        assert rest.weight_used == 1
        assert rest.refusals.counts[Refusal.HEADER] == 1


@pytest.mark.parametrize("value", STRANGE)
async def test_a_strange_wait_is_bounded(value: str, autojump_clock: MockClock) -> None:
    """Whatever it says, the next request is sent within an hour."""
    header = f"retry-after: {value}".encode().decode("latin-1")
    async with asking(whole(b"", 429, header), whole(b'{"serverTime":1700000000000}')) as rest:
        with pytest.raises(SourceUnavailableError, match="asks to wait"):
            await rest.server_time()
        began = trio.current_time()
        assert await rest.server_time() == NOW
        assert 1 <= trio.current_time() - began <= RETRY_SECONDS_MAX
        assert rest.refusals.counts[Refusal.HEADER] == 1


def test_numbers_within_bounds_are_readings() -> None:
    """Real headers are taken as they are."""
    assert used_weight({b"x-mbx-used-weight-1m": b"1200"}).value == 1200
    assert used_weight({b"x-mbx-used-weight-1m": str(WEIGHT_MAX + 1).encode()}).value is None
    assert used_weight({}).value is None
    assert retry_after({b"retry-after": b"30"}, "", None).value == 30
    assert retry_after({b"retry-after": b"7200"}, "", None).value == RETRY_SECONDS_MAX


def test_ban_ends_as_its_message_says() -> None:
    """Without a header, the difference to the exchange's clock, or to the answer's date, is the wait."""
    message = f"Way too much request weight used; IP banned until {NOW // 1000 + 125_000}. Please use ..."
    assert retry_after({}, message, NOW).value == 125
    assert retry_after({b"date": b"Tue, 14 Nov 2023 22:13:20 GMT"}, message, None).value == 125
    assert retry_after({}, message, None).value == 60
    assert retry_after({b"date": b"yesterday"}, message, None).value == 60
    assert retry_after({b"retry-after": b"soon"}, message, NOW).value == 125


@pytest.mark.parametrize("until", [0, 10**12, NOW // 1000 - 5, 10**13 - 1, 10**14, 10**40])
def test_a_ban_is_at_most_an_hour(until: int) -> None:
    """A ban that is over or never ends waits no less than a second and no more than an hour."""
    wait = retry_after({}, f"IP banned until {until}.", NOW).value
    assert wait is not None
    assert 1 <= wait <= RETRY_SECONDS_MAX


async def test_a_refusal_is_plain_text(autojump_clock: MockClock) -> None:
    """Controls in the exchange's words never reach whoever reads the error."""
    body = json.dumps({"code": -1121, "msg": "\x1b[2J no"}).encode()
    async with asking(whole(body, 400)) as rest:
        with pytest.raises(SourceRefusedError) as caught:
            await rest.trades("X", 0)
    assert str(caught.value.args[0]).isprintable()
