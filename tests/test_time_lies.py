"""The whole way from the wire to the bars, on an exchange that lies about time in memory: no bar suffers."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE
from candled.domain.status import GapState
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from tests.memory_daemon import START, SYMBOLS, MemoryDaemon, captured_logs, make_exchange, open_daemon_on

REVISIONS_MAX = 3
SLACK = 1_000_000


class Witness:
    """Notes each bar event with the exchange's true time at that moment."""

    def __init__(self, daemon: MemoryDaemon) -> None:
        self.daemon = daemon
        self.early: list[str] = []
        self.closes: Counter[tuple[str, int]] = Counter()
        self.revisions: Counter[tuple[str, int]] = Counter()
        self.slack = SLACK

    def publish(self, events: Sequence[BarEvent]) -> None:
        now = self.daemon.exchange.clock.now()
        for event in events:
            bar = event.bar
            if bar.interval != "1m" or event.kind is BarEventKind.UPDATE:
                continue
            key = (bar.symbol, bar.open_time)
            if event.kind is BarEventKind.CLOSE:
                self.closes[key] += 1
                if bar.close_time > now + self.slack:
                    self.early.append(f"{bar.symbol} {(bar.close_time - now) / 1e6:.1f} s early")
            else:
                self.revisions[key] += 1

    def judge(self) -> None:
        assert self.early == []
        assert {key for key, count in self.closes.items() if count > 1} == set()
        assert {key: count for key, count in self.revisions.items() if count > REVISIONS_MAX} == {}


@asynccontextmanager
async def watched(
    exchange: Exchange, symbols: tuple[str, ...] = SYMBOLS
) -> AsyncIterator[tuple[MemoryDaemon, Witness]]:
    async with open_daemon_on(exchange, symbols) as daemon:
        witness = Witness(daemon)
        daemon.recorder.witnesses.append(witness.publish)
        yield daemon, witness


LIES = (
    "event_time=-55m/0.1",
    "event_time:BTCUSDT=1h",
    "event_time=1h",
    "trade_time=1h/0.02",
    "trade_time=-70s/0.05",
    "event_time:BTCUSDT=5s,trade_time:BTCUSDT=5s",
    "event_time=1h,trade_time=1h",
    "server_time=16s",
    "server_time_frozen",
    "rest_trade_time=1h/0.3",
)
MORE_LIES = (
    "event_time=30m/0.02",
    "event_time=55m/0.02",
    "trade_time=-1h/0.02",
    "trade_time=20s/0.05",
    "trade_time:BTCUSDT=1h",
    "event_time:BTCUSDT=1h,trade_time:BTCUSDT=1h",
    "server_time=-16s",
    "server_time=20000h",
)
"""The same with other values."""


@pytest.mark.parametrize("lie", [*LIES, *(pytest.param(lie, marks=pytest.mark.slow) for lie in MORE_LIES)])
async def test_lie_while_running(lie: str, autojump_clock: object) -> None:
    """A lie of some minutes closes nothing early, doubles nothing, and afterwards every bar is whole."""
    exchange = make_exchange(rate=1.0)
    async with watched(exchange) as (daemon, witness):
        await daemon.closes(2)
        exchange.command(lie)
        await trio.sleep(240)
        exchange.command("clear")
        await daemon.closes(3)
        witness.judge()
        await daemon.is_whole()
        assert daemon.readiness.not_ready_reasons() == ()
        await daemon.until(lambda: not daemon.pipeline.engine.time.quarantined(), 200)


@pytest.mark.parametrize(
    "lie", ["server_time=16s", "server_time=20000h", "server_time=-20000h", "event_time=1h/0.05"]
)
async def test_lie_from_the_start(lie: str, autojump_clock: object) -> None:
    """With a lie from the first moment bars are made all the same: most sources are right."""
    exchange = make_exchange(rate=1.0, faults=lie)
    async with watched(exchange) as (daemon, witness):
        await daemon.closes(3)
        witness.judge()
        exchange.command("clear")
        await daemon.is_whole()


async def test_status_names_the_liar(autojump_clock: object) -> None:
    """While a symbol's event times are wrong the daemon is ready, and the status names the symbol."""
    exchange = make_exchange(rate=1.0)
    with captured_logs() as logs:
        async with watched(exchange) as (daemon, _witness):
            await daemon.closes(1)
            exchange.command("event_time:BTCUSDT=1h")
            await trio.sleep(100)
            status = daemon.readiness.status()
            assert status.not_ready_reasons == ()
            (notice,) = status.notices
            assert notice.startswith("The stream of BTCUSDT is 3,")
            assert daemon.status("ETHUSDT").lag_ms < 2000
    assert [line["source"] for line in logs if line["event"] == "source of time quarantined"] == ["BTCUSDT"]


async def test_not_ready_before_agreement(autojump_clock: object) -> None:
    """One symbol and a clock that is years off: nothing closes, readiness says why, the right time heals it."""
    exchange = make_exchange(("BTCUSDT",), rate=1.0, faults="server_time=20000h")
    async with watched(exchange, ("BTCUSDT",)) as (daemon, witness):
        await trio.sleep(200)
        assert any("no two agree" in reason for reason in daemon.readiness.not_ready_reasons())
        assert daemon.bars("BTCUSDT") == []
        exchange.command("clear")
        await daemon.closes(2, ("BTCUSDT",))
        assert daemon.readiness.not_ready_reasons() == ()
        witness.judge()


@pytest.mark.parametrize("speed", [*(pytest.param(speed, marks=pytest.mark.slow) for speed in (10, 60)), 120])
@pytest.mark.parametrize(
    "lie", ["event_time=1h/0.02", "trade_time=1h/0.02", "event_time:BTCUSDT=1h", "server_time=1h"]
)
async def test_lie_at_speed(lie: str, speed: int, autojump_clock: object) -> None:
    """On an accelerated exchange too."""
    clock = ExchangeClock(START, trio.current_time, speed=speed)
    exchange = Exchange(SyntheticMarket(1, SYMBOLS, rate=0.2), clock)
    async with watched(exchange) as (daemon, witness):
        witness.slack = SLACK * (1 + speed)
        await daemon.closes(2)
        exchange.command(lie)
        await trio.sleep(600 / speed)
        exchange.command("clear")
        await daemon.closes(3)
        witness.judge()
        await daemon.is_whole()


@pytest.mark.parametrize("offset", ["1h", "-1h", "20000h"])
async def test_lie_of_rest(offset: str, autojump_clock: object) -> None:
    """What REST alone can state, and states wrongly, is never believed: its bars are not complete and say why."""
    exchange = make_exchange(rate=1.0)
    async with watched(exchange) as (daemon, witness):
        await daemon.closes(2)
        exchange.command(f"rest_trade_time={offset}/0.3,lose=0.02")
        await trio.sleep(240)
        exchange.command("clear")
        await daemon.closes(3)
        witness.judge()
        for symbol in SYMBOLS:
            listed = [gap for gap in daemon.status(symbol).gaps if gap.state is GapState.UNFILLABLE]
            assert all("its time" in gap.reason for gap in listed)
            wrong = daemon.differences(symbol)
            assert bool(wrong) == bool(listed)
            assert not [text for text in wrong if "complete=True" in text.partition(" but ")[0]]


async def test_machine_sleeps(autojump_clock: object) -> None:
    """The exchange runs ahead by an hour at once: bars follow, none closes before its end."""
    exchange = make_exchange(rate=1.0)
    async with watched(exchange) as (daemon, witness):
        await daemon.closes(2)
        exchange.clock._origin += 60 * MINUTE
        exchange._wake()
        await daemon.closes(3)
        witness.judge()
        await daemon.is_whole()


@pytest.mark.parametrize("seconds", [-4, -2, 3])
async def test_exchange_clock_is_set(seconds: int, autojump_clock: object) -> None:
    """The exchange's clock is set by seconds."""
    exchange = make_exchange(rate=1.0)
    async with watched(exchange) as (daemon, witness):
        await daemon.closes(2)
        exchange.clock._origin += seconds * 1_000_000
        exchange._wake()
        witness.slack = SLACK + 4_000_000
        await daemon.closes(3)
        witness.judge()
        await daemon.is_whole()
