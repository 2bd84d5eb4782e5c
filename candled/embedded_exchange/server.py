"""The embedded exchange over TCP: streams and REST on one port."""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
import trio

from candled.config.settings import ExchangeSettings
from candled.embedded_exchange.clock import ExchangeClock, exchange_time_of, parse_epoch, wall_time
from candled.embedded_exchange.connection import serve_connection
from candled.embedded_exchange.core import Exchange, Limits
from candled.embedded_exchange.replay import load_recording
from candled.embedded_exchange.synthetic import SyntheticMarket
from candled.errors import UserError

if TYPE_CHECKING:
    from candled.embedded_exchange.market import Market


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


def make_exchange(
    settings: ExchangeSettings, limits: Limits | None = None, *, start: int | None = None
) -> Exchange:
    """Build the exchange that the settings describe, on the real clocks; call it inside Trio.

    Args:
        settings: The market, and its clock.
        limits: Used instead of the settings' and the original's.
        start: What a synthetic market's clock shows now, microseconds since the epoch; None: by the settings.

    Raises:
        UserError: the recording, the epoch or the faults cannot be read.
    """
    try:
        return _make(settings, limits, start)
    except ValueError as error:
        raise UserError(str(error)) from None


def _make(settings: ExchangeSettings, limits: Limits | None, start: int | None) -> Exchange:
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
        origin = exchange_time_of(wall, epoch=epoch, speed=settings.speed) if start is None else start
        clock = ExchangeClock(origin, trio.current_time, speed=settings.speed)
    return Exchange(
        market,
        clock,
        seed=settings.seed,
        faults=settings.faults,
        limits=limits or Limits(attempts=settings.attempt_limit, weight_per_minute=settings.weight_limit),
        form=settings.form,
        start_on_subscription=settings.replay is not None and settings.replay_begin == "subscriber",
    )


async def serve(
    settings: ExchangeSettings,
    *,
    limits: Limits | None = None,
    start: int | None = None,
    task_status: trio.TaskStatus[BoundExchange] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the embedded exchange until cancelled.

    Args:
        settings: The market and the address to listen on; port 0 takes any free one.
        limits: Used instead of the settings' and the original's.
        start: What a synthetic market's clock shows now, microseconds since the epoch; None: by the settings.
        task_status: Started with the bound address once connections are accepted.

    Raises:
        UserError: a setting is invalid, or the address cannot be bound.
    """
    exchange = make_exchange(settings, limits, start=start)
    host, _, port = settings.address.rpartition(":")
    try:
        listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(f"Cannot listen on {settings.address}: {reason}; choose another address.") from None
    await serve_exchange(exchange, listeners, task_status=task_status)


async def serve_exchange(
    exchange: Exchange,
    listeners: Iterable[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[BoundExchange] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an existing exchange on listeners, which are closed at the end."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            address = stream.socket.getpeername()[0]
        except OSError:
            await stream.aclose()  # gone before its address was read
            return
        await serve_connection(exchange, stream, address)

    ready = list(listeners)
    host, port = ready[0].socket.getsockname()[:2]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, ready)
        task_status.started(BoundExchange(exchange, host, port))
