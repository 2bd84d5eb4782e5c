"""What a seed decides: how much is traded, for how long, over what, and how often something goes wrong."""

import random
from typing import Final

import attrs

from candled.feed.repair.plan import RepairWays
from tests.simulation.mishaps import TIME_LIES, WITHIN_SLACK

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
FORMS: Final = ("binance", "coinbase")
LASTING_LIES: Final = (
    *("", "", "wrong_value=0.02,rest_wrong_value=0.02", "wrong_key=0.02,rest_wrong_key=0.02"),
    *("rest_wrong_type=0.02,rest_wrong_kline=0.1", "rest_wrong_header=0.3"),
)
"""Lies that last to the end of some days: the exchange never corrects itself."""
EARLY_WAYS: Final = RepairWays(aggregates_from=60, klines_from=250, kline_minutes_min=3)
"""Every way of the repair, reached by gaps that a simulated day can have."""


@attrs.frozen(kw_only=True)
class Scenario:
    """One simulated stretch of time."""

    seed: int
    form: str = "binance"
    """Whose API the exchange speaks, and the daemon reads."""
    hours: float
    rate: float
    """Of the market: 0.06 makes about 20,000 trades a day, 0.005 some 1,600."""
    speed: float
    """Of the exchange's clock: fewer idle wake-ups in a day."""
    mean_pause: float
    """Seconds between mishaps, on average."""
    stream: str
    connections: int
    lifetime_s: float
    """After which the exchange cuts a connection."""
    market_faults: str = ""
    """From the beginning to the end, as they change what was traded."""
    feed_events: int = 2_000
    closed_batches: int = 10_000
    ways: RepairWays = attrs.Factory(RepairWays)
    piecemeal: bool = False
    """Messages are late and repairs come in small pieces all the time."""
    absence_hours: float = 0.0
    """How long, once, no daemon runs."""
    lie_pause: float | None = None
    """Seconds between lies of the exchange, on average; None: it is honest."""
    lasting_lies: str = ""
    """Those that last to the end."""
    patience_s: float = 7500.0
    """What the repair may take once all is well: a lying header may ask for an hour without requests."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """As the exchange names them."""
        return tuple(map(self.named, SYMBOLS))

    @property
    def time_lies(self) -> tuple[str, ...]:
        """Lies about time that can be noticed: a match of Coinbase states one time, a trade of Binance two."""
        return tuple(lie for lie in TIME_LIES if self.form == "binance" or lie not in WITHIN_SLACK)

    def named(self, text: str) -> str:
        """Return a text about symbols with the names that they have at this exchange."""
        return text.replace("USDT", "-USD") if self.form == "coinbase" else text

    @property
    def seconds_between(self) -> float:
        """Local seconds between two trades on average."""
        trades_per_day = 20_000 * self.rate / 0.06
        return 86_400 / trades_per_day / self.speed

    @classmethod
    def drawn(cls, seed: int, *, hours: float | None = None, form: str = "binance") -> "Scenario":
        """The scenario of a seed: mostly a few hours; one in fifty is a busy day, one in ten a quiet one.

        ``hours``: its length, instead of the drawn one. From twelve on, the exchange's clock runs as fast as on
        those days.
        ``form``: whose API is spoken; where it has one stream only, that is read.
        """
        rng = random.Random(f"{seed}/scenario")
        busy_day, quiet_day = seed % 50 == 7, seed % 10 == 2
        if busy_day:
            length, rate, speed = 24.0, 0.06, 60.0
        elif quiet_day:
            length, rate, speed = 24.0, rng.choice((0.005, 0.01)), 120.0
        else:
            length, rate = rng.uniform(0.7, 2.5), rng.choice((0.06, 0.06, 0.02, 0.005))
            speed = rng.choice((6.0, 12.0, 30.0))
        if hours is not None:
            length = hours
            if hours >= 12 and not (busy_day or quiet_day):
                speed = rng.choice((60.0, 120.0))
        piecemeal = rng.random() < 0.15
        lies = random.Random(f"{seed}/lies")
        mean_pause = rng.choice((10.0, 25.0, 75.0))
        stream = "aggTrade" if piecemeal else rng.choice(("trade", "trade", "aggTrade"))
        return cls(
            seed=seed,
            form=form,
            hours=length,
            rate=rate,
            speed=speed,
            mean_pause=mean_pause,
            stream=stream if form == "binance" else "trade",
            connections=rng.choice((1, 1, 2)),
            lifetime_s=rng.choice((300.0, 3000.0, 86_400.0)),
            market_faults=rng.choice(("", "", "", "", "unfillable=0.02", "placeholder=0.02", "skip=0.005")),
            feed_events=rng.choice((2_000, 2_000, 4)),
            closed_batches=rng.choice((10_000, 2)),
            ways=rng.choice((RepairWays(), EARLY_WAYS, EARLY_WAYS)),
            absence_hours=rng.uniform(12, 60) if rng.random() < 0.1 else 0.0,
            piecemeal=piecemeal,
            lie_pause=lies.choice((3.0, 10.0, 30.0)) if seed % 2 else None,
            lasting_lies=lies.choice(LASTING_LIES) if seed % 2 else "",
        )
