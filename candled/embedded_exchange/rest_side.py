"""The REST side of an exchange, whatever its wire forms: requests, answers, and where faults change them."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.ledger import Ledger

Hides = Callable[[str, int, int], bool]
"""Whether REST lacks a trade id from the first to the last of this symbol."""


@attrs.frozen(slots=True, kw_only=True)
class Request:
    """An HTTP request of a client."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Names in lower case."""
    body: bytes = b""
    address: str = ""
    """Client address that the weight is charged to."""


@attrs.frozen(slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json;charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()


class RestSide:
    """Answers from the ledger as of the clock; the functions among its attributes are where faults intervene."""

    def __init__(self, ledger: Ledger, clock: ExchangeClock) -> None:
        """Answer from ``ledger`` as of ``clock``."""
        self._ledger = ledger
        self._clock = clock
        self.lag = 0
        """Microseconds of exchange time by which answers about trades lag."""
        self.hides: Hides = lambda symbol, first_id, last_id: False
        self.state_trade: Callable[[str, str], str] = lambda symbol, row: row
        """How a row of a symbol's trades is stated."""
        self.tell_kline: Callable[[str, int, str], str] = lambda symbol, open_time, row: row
        """How a row of klines is stated."""
        self.arrange: Callable[[Sequence[str]], Sequence[str]] = lambda rows: rows
        """In what order the rows of an answer are listed."""
        self.is_listed: Callable[[str], bool] = lambda symbol: True
        """Whether a symbol of the market is known here."""
        self.server_time: Callable[[int], int] = lambda true: true
        """The exchange's time as it is answered."""

    async def answer(self, request: Request) -> Answer:
        """Answer one request; never raises for a client's mistake."""
        raise NotImplementedError

    def _until(self) -> int:
        return self._clock.now() - self.lag

    def _page(self, rows: Sequence[str]) -> str:
        return f"[{','.join(self.arrange(rows))}]"
