"""The embedded exchange over TCP: streams and REST on one port."""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
import trio

from candled.errors import UserError
from candled.exchange.clock import ExchangeClock, exchange_time_of, parse_epoch, wall_time
from candled.exchange.connection import serve_connection
from candled.exchange.core import Exchange, Limits
from candled.exchange.replay import load_recording
from candled.exchange.synthetic import SyntheticMarket
from candled.settings import ExchangeSettings

if TYPE_CHECKING:
    from candled.exchange.market import Market


@attrs.frozen(slots=True)
class BoundExchange:
    """An exchange that listens; as text ``host:port``."""

    exchange: Exchange
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def stream_url(self) -> str:
        """Websocket base URL."""
        return f"ws://{self}"

    @property
    def rest_url(self) -> str:
        """REST base URL."""
        return f"http://{self}"


def make_exchange(settings: ExchangeSettings, limits: Limits | None = None) -> Exchange:
    """The exchange that the settings describe, on the real clocks. To be called inside Trio.

    Raises:
        UserError: the recording, the epoch or the faults cannot be read.
    """
    try:
        return _make(settings, limits)
    except ValueError as error:
        raise UserError(str(error)) from None


def _make(settings: ExchangeSettings, limits: Limits | None) -> Exchange:
    if settings.replay is not None:
        recording = load_recording(settings.replay)
        clock = ExchangeClock(
            recording.start,
            trio.current_time,
            speed=settings.speed,
            running=settings.replay_begin == "now",
            fast_until=recording.end,
        )
        market: Market = recording
    else:
        if not 0 < settings.rate <= 100_000:
            raise ValueError(
                f"rate {settings.rate:g} must be more than 0 and at most 100000: 1 is the usual market"
            )
        market = SyntheticMarket(settings.seed, settings.symbols, rate=settings.rate)
        wall = wall_time()
        epoch = parse_epoch(settings.epoch) if settings.epoch else wall
        clock = ExchangeClock(
            exchange_time_of(wall, epoch=epoch, speed=settings.speed), trio.current_time, speed=settings.speed
        )
    return Exchange(
        market,
        clock,
        seed=settings.seed,
        faults=settings.faults,
        limits=limits or Limits(attempts=settings.attempt_limit, weight_per_minute=settings.weight_limit),
        start_on_subscription=settings.replay is not None and settings.replay_begin == "subscriber",
    )


async def serve(
    settings: ExchangeSettings,
    *,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[BoundExchange] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the embedded exchange until cancelled.

    Args:
        settings: What to trade, where to listen; port 0 takes any free one.
        limits: Used instead of the settings' and the original's.
        task_status: Told of the bound address once connections are taken.

    Raises:
        UserError: a setting makes no sense, or the address is not to be had.
    """
    exchange = make_exchange(settings, limits)
    host, _, port = settings.address.rpartition(":")
    try:
        listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(f"cannot listen on {settings.address}: {reason}, choose another address") from None
    await serve_exchange(exchange, listeners, task_status=task_status)


async def serve_exchange(
    exchange: Exchange,
    listeners: Iterable[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[BoundExchange] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a ready-made exchange on listeners, which are closed at the end."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            address = stream.socket.getpeername()[0]
        except OSError:
            await stream.aclose()  # gone before it was looked at
            return
        await serve_connection(exchange, stream, address)

    ready = list(listeners)
    host, port = ready[0].socket.getsockname()[:2]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, ready)
        task_status.started(BoundExchange(exchange, host, port))
