"""What a subscriber has, compared with the exchange's own bars."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from tests.acceptance.processes import NINE
from tests.bus.real_cluster import SYMBOLS, RealCluster
from tests.bus.subscriber import Subscriber

_PAGE: Final = 1_000
_MINUTE: Final = 60_000


def newest(subscriber: Subscriber, symbol: str) -> float:
    """Open time of the newest closed minute that a subscriber has, in seconds; 0: none."""
    return max((key[2].timestamp() for key in subscriber.closed if key[:2] == (symbol, "1m")), default=0.0)


def compare(cluster: RealCluster, subscriber: Subscriber, until: Mapping[str, float]) -> tuple[int, list[str]]:
    """Compare 1-minute bars with the exchange's ledger in nine fields; how many, and what is wrong.

    Args:
        cluster: with the ledger.
        subscriber: whose bars.
        until: open time of each symbol's last bar that counts, in seconds: a later one may not be proven yet.
    """
    faults: list[str] = []
    count = 0
    for symbol in SYMBOLS:
        bars = {
            round(key[2].timestamp() * 1000): bar
            for key, bar in list(subscriber.closed.items())
            if key[:2] == (symbol, "1m")
        }
        first, last = min(bars), round(until[symbol] * 1000)
        rows = {
            row[0]: row for at in range(first, last + 1, _PAGE * _MINUTE) for row in cluster.klines(symbol, at)
        }
        for time in range(first, last + 1, _MINUTE):
            count += 1
            bar = bars.get(time)
            if bar is None:
                faults.append(f"{symbol} {time} is missing")
                continue
            official = dict(zip(NINE, [*rows[time][1:6], *rows[time][7:11]], strict=True))
            differing = [name for name in NINE if getattr(bar, name) != Decimal(official[name])]
            if differing:
                faults.append(f"{symbol} {time} differs in {differing}: complete={bar.complete} {bar.revision}")
            if not bar.complete:
                faults.append(f"{symbol} {time} ends unproven")
    return count, faults
