"""The exchange itself: market, clock, ledger, limits and faults, and its open connections."""

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from candled.embedded_exchange.altered import AlteredMarket
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.disturbance import Disturbance
from candled.embedded_exchange.faults import Fault, Faults, parse_faults
from candled.embedded_exchange.forms import DEFAULT_FORM, find_form
from candled.embedded_exchange.kinds import MARKET_FAULTS
from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.lies.liar import Liar
from candled.embedded_exchange.market import Market
from candled.embedded_exchange.misdating import Misdating
from candled.embedded_exchange.replay import Frame, ReplayMarket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from candled.embedded_exchange.form import Form

_ATTEMPT_WINDOW_S: Final = 300
_MICROSECONDS: Final = 1_000_000


@attrs.frozen(slots=True, kw_only=True)
class Limits:
    """Limits and timeouts of the original, in real seconds."""

    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    lifetime_s: float = 86_400.0
    shutdown_notice_s: float = 10.0
    """From ``serverShutdown`` to the end of the connection; the original gives about ten minutes."""
    messages_per_second: int = 5
    """From a client, pings and pongs among them."""
    streams: int = 1024
    """On one connection."""
    attempts: int = 300
    """To connect, from one address in five minutes."""
    weight_per_minute: int = 6000


class Session(Protocol):
    """An open stream connection, as far as the exchange acts on it."""

    def wake(self) -> None:
        """Check again what is due."""

    def strike(self, name: str) -> None:
        """Commit a fault on this connection now."""

    def rewind(self) -> None:
        """Recompute what comes next, after the market changed."""


class Exchange:
    """The exchange without sockets, on any clock."""

    def __init__(
        self,
        market: Market,
        clock: ExchangeClock,
        *,
        seed: int = 1,
        faults: str = "",
        limits: Limits | None = None,
        start_on_subscription: bool = False,
        form: str = DEFAULT_FORM,
    ) -> None:
        """Make an exchange on ``market``.

        Args:
            market: The market that is traded.
            clock: Exchange time.
            seed: Seed of the faults.
            faults: Faults from the start, those of the market itself for all of its past; see ``faults``.
            limits: The original's limits unless said otherwise.
            start_on_subscription: Start the clock with the first subscriber, as for a replay.
            form: Whose API it speaks: see ``forms``.

        Raises:
            ValueError: the faults cannot be read.
        """
        self.clock = clock
        self.limits = limits or Limits()
        self.faults = Faults(seed)
        self._start_on_subscription = start_on_subscription
        self._altered = AlteredMarket(market, seed)
        self.ledger = Ledger(self._altered)
        self.frames: Sequence[Frame] = market.frames if isinstance(market, ReplayMarket) else ()
        self.form: Form = find_form(form)(self)
        self.rest = self.form.rest
        self.rest.hides = self.faults.hides
        self.liar = Liar(self.faults)
        self.misdating = Misdating(self.faults)
        self.rest.state_trade = self._stated_row
        self.rest.server_time = lambda true: self.misdating.server_time(true, clock.monotonic())
        self.rest.tell_kline = self.liar.of_kline
        self.rest.arrange = self.liar.of_rows
        self.rest.is_listed = lambda symbol: not self.faults.is_on("delist", clock.monotonic(), symbol)
        self._random = Random(f"{seed}/requests")  # noqa: S311 (faults, not secrets)
        self._sessions: dict[Session, None] = {}  # in order, so that a run can be repeated
        self._attempts: dict[str, deque[float]] = {}
        self._connections = 0
        self._command(faults, since=0)

    @property
    def sessions(self) -> int:
        """Stream connections that are open."""
        return len(self._sessions)

    def lacks(self, symbol: str, first_id: int, last_id: int) -> bool:
        """Return whether REST lacks any of these trade ids, as unfillable or skipped."""
        if self.faults.hides(symbol, first_id, last_id):
            return True
        expected = first_id
        for fill in self.ledger.fills_from(symbol, first_id, self.clock.now()):
            if expected > last_id:
                break
            if fill.first_id > expected:
                return True
            expected = fill.last_id + 1
        return False

    def start(self) -> None:
        """Start the clock if it is stopped."""
        if not self.clock.running:
            self.clock.start()
            self._wake()

    def subscribed(self) -> None:
        """Note that a connection has subscribed to a stream."""
        if self._start_on_subscription:
            self.start()

    def command(self, text: str) -> None:
        """Turn faults on or off, or commit one now; see ``faults``. ``clear`` ends all.

        Raises:
            ValueError: the text cannot be parsed; nothing is changed.
        """
        self._command(text, self.clock.now())

    def _command(self, text: str, since: int) -> None:
        """Apply a command; faults of the market itself hold from exchange time ``since`` on."""
        if text.strip() == "clear":
            faults = [attrs.evolve(fault, off=True) for fault in self.faults]
        else:
            faults = parse_faults(text)
        for fault in faults:
            if fault.symbol is not None and fault.symbol not in self.ledger.symbols:
                raise ValueError(f"fault {fault.name}: there is no symbol {fault.symbol} here")
        for fault in faults:
            if fault.at_once:
                for session in list(self._sessions):
                    session.strike(fault.name)
            else:
                self.faults.set(fault, self.clock.monotonic())
                if fault.name in MARKET_FAULTS:
                    self._alter(fault, since)
        self.rest.lag = int(self.faults.seconds("rest_lag") * _MICROSECONDS)
        self._wake()

    def _alter(self, fault: Fault, since: int) -> None:
        if fault.symbol is None:
            self._altered.set_rate(fault.name, 0.0 if fault.off else fault.rate or 0.0, since)
        elif fault.name == "reset_ids":
            if not fault.off:
                self._altered.reset_ids(fault.symbol, self.clock.now())
                self.ledger.ids_reset_at[fault.symbol] = self.clock.now()
        else:
            change = self._altered.resume if fault.off else self._altered.halt
            change(fault.symbol, self.clock.now())
        self.ledger.forget()
        for session in self._sessions:
            session.rewind()

    def admit(self, address: str) -> bool:
        """Return whether this address may open another connection now."""
        now = self.clock.monotonic()
        for known in [known for known, times in self._attempts.items() if times[-1] <= now - _ATTEMPT_WINDOW_S]:
            del self._attempts[known]
        attempts = self._attempts.setdefault(address, deque())
        while attempts and attempts[0] <= now - _ATTEMPT_WINDOW_S:
            attempts.popleft()
        if len(attempts) >= self.limits.attempts:
            return False
        attempts.append(now)
        return self.refusal_status is None

    @property
    def refusal_status(self) -> int | None:
        """Status that new connections are refused with by a fault; None if they are not."""
        now = self.clock.monotonic()
        if self.faults.is_on("refuse_451", now):
            return 451
        return 503 if self.faults.is_on("refuse", now) else None

    def happens(self, name: str) -> bool:
        """Draw a fault of REST for one request."""
        rate = self.faults.rate(name)
        return rate > 0 and self._random.random() < rate

    def _stated_row(self, symbol: str, row: str) -> str:
        return self.liar.of_row(symbol, self.misdating.row(symbol, row))

    def disturbance(self) -> Disturbance:
        """Return the faults of the next connection."""
        self._connections += 1
        return Disturbance(self.faults, self._connections, self.liar.of_message)

    def join(self, session: Session) -> None:
        """Add an open connection."""
        self._sessions[session] = None

    def leave(self, session: Session) -> None:
        """Remove a closed connection."""
        self._sessions.pop(session, None)

    def _wake(self) -> None:
        for session in self._sessions:
            session.wake()
