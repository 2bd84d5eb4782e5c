"""What the exchange says of the symbols: at the start, and then when one is halted, delisted or traded again."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import attrs
import structlog
import trio

from candled.domain.numbers import DECIMALS
from candled.feed.adapter import (
    DELISTED,
    TRADING,
    ExchangeDescription,
    Instrument,
    TradeSource,
    nearest_to_each,
)
from candled.feed.errors import FeedError, SourceRefusedError, SourceUnavailableError
from candled.retry import Backoff

LOOK_SECONDS: Final = 60.0
"""Between looks at the exchange's list: one weighs 20."""
LOOK_SECONDS_MIN: Final = 10.0
"""Between looks when a silent symbol gives reason for one."""
DELISTED_EVERY: Final = 10
"""Every which look asks for delisted symbols too: the exchange then answers with its complete, long list."""

_log = structlog.get_logger(__name__)


@attrs.frozen(slots=True)
class Change:
    """A symbol's status is another one now."""

    symbol: str
    before: str
    now: str
    near: tuple[str, ...] = ()
    """Of a delisted symbol, names like it that the exchange has: it may have been renamed."""


class Listings:
    """The exchange's symbols of ours, as it described each last. Plain: no clock, no I/O."""

    def __init__(self, description: ExchangeDescription) -> None:
        """Know what ``description`` says."""
        self.identity = description.identity
        self._instruments = dict(description.instruments)

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Each symbol as it was described last; a delisted one as it was, but for its status."""
        return self._instruments

    def status(self, symbol: str) -> str:
        """The exchange's own word for it, or DELISTED; nothing for a symbol that is not known."""
        instrument = self._instruments.get(symbol)
        return instrument.status if instrument else ""

    def is_listed(self, symbol: str) -> bool:
        """Whether the exchange has it, as far as is known."""
        return self.status(symbol) != DELISTED

    def add(self, description: ExchangeDescription) -> None:
        """Know these symbols too."""
        self._instruments |= description.instruments

    def forget(self, symbol: str) -> None:
        """This symbol is of no concern any more."""
        self._instruments.pop(symbol, None)

    def to_ask(self, look: int) -> list[str]:
        """Which symbols the look of this number, from 0 on, asks for."""
        if look % DELISTED_EVERY == 0:
            return list(self._instruments)
        return [symbol for symbol in self._instruments if self.is_listed(symbol)]

    def learn(self, asked: Sequence[str], description: ExchangeDescription) -> list[Change]:
        """Take what the exchange says of the symbols asked for; what is new in it."""
        changes = []
        for symbol in asked:
            known = self._instruments.get(symbol)
            if known is None:  # removed while it was asked for
                continue
            described = description.instruments.get(symbol) or attrs.evolve(known, status=DELISTED)
            self._instruments[symbol] = described
            if described.status != known.status:
                changes.append(Change(symbol, known.status, described.status))
        delisted = [change.symbol for change in changes if change.now == DELISTED]
        near = nearest_to_each(delisted, description.names)
        return [attrs.evolve(change, near=tuple(near.get(change.symbol, ()))) for change in changes]


async def fetch_exchange_info(
    source: TradeSource,
    symbols: Sequence[str],
    rng: random.Random,
    on_failure: Callable[[SourceUnavailableError, float], None],
) -> ExchangeDescription:
    """Ask the exchange for itself and for symbols until it answers: before that there is nothing to read.

    Args:
        source: who is asked.
        symbols: which; those that it does not have are left out.
        rng: jitter between attempts.
        on_failure: called after each attempt without an answer, with the seconds until the next one.

    Raises:
        FeedError: it refuses to answer.
    """
    backoff = Backoff(rng)
    while True:
        try:
            return await source.describe(symbols)
        except SourceUnavailableError as error:
            delay = backoff.next()
            on_failure(error, delay)
            await trio.sleep(delay)
        except SourceRefusedError as error:
            raise FeedError(f"The exchange refuses to describe the symbols: {error.args[0]}.") from error


def keep_unlisted(
    description: ExchangeDescription, symbols: Sequence[str], stored: Collection[str]
) -> ExchangeDescription:
    """Add symbols that the exchange does not have any more, as delisted, so that the others are served.

    Args:
        description: what the exchange said of itself and of ``symbols``.
        symbols: those to serve.
        stored: those that have stored bars, so that the exchange had them once.

    Raises:
        UnknownSymbolError: the exchange has not one of the others.
    """
    description.check([symbol for symbol in symbols if symbol not in stored])
    gone = [symbol for symbol in symbols if symbol not in description.instruments]
    near = nearest_to_each(gone, description.names)
    for symbol in gone:
        _log.error(
            "the exchange does not have this symbol any more: take it out of the settings, or its new name in",
            symbol=symbol,
            names_like_it=near[symbol],
        )
    # Nothing says how fine its numbers were: with the most decimals no sum of aggregates counts as exact.
    unlisted = {symbol: Instrument(symbol, DELISTED, DECIMALS, DECIMALS) for symbol in gone}
    return attrs.evolve(description, instruments=description.instruments | unlisted)


class ListingWatch:
    """Asks the exchange for its list now and then, and sooner when there is reason to."""

    def __init__(self, source: TradeSource, listings: Listings, on_change: Callable[[], None]) -> None:
        """``on_change``: called when any symbol's status is another one."""
        self._source = source
        self._listings = listings
        self._on_change = on_change
        self._reason = trio.Event()
        self._log = structlog.get_logger(__name__)

    def look_soon(self) -> None:
        """A symbol is silent."""
        self._reason.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        for symbol, instrument in self._listings.instruments.items():
            if instrument.status not in (TRADING, DELISTED):  # `keep_unlisted` has named the delisted ones
                self._log.warning("symbol is not traded", symbol=symbol, status=instrument.status)
        look = 1
        while True:
            await trio.sleep(LOOK_SECONDS_MIN)
            with trio.move_on_after(LOOK_SECONDS - LOOK_SECONDS_MIN):
                await self._reason.wait()
            self._reason = trio.Event()
            asked = self._listings.to_ask(look)
            look += 1
            if not asked:
                continue
            try:
                description = await self._source.describe(asked)
            except (SourceUnavailableError, SourceRefusedError) as error:
                self._log.warning("cannot read the exchange's list of symbols", reason=str(error))
                continue
            changes = self._listings.learn(asked, description)
            for change in changes:
                self._log_change(change)
            if changes:
                self._on_change()

    def _log_change(self, change: Change) -> None:
        if change.now == TRADING:
            self._log.info("symbol is traded again", symbol=change.symbol, status_before=change.before)
        elif change.now == DELISTED:
            self._log.error(
                "the exchange does not have this symbol any more: take it out of the settings, or its new name in",
                symbol=change.symbol,
                status_before=change.before,
                names_like_it=list(change.near),
            )
        else:
            self._log.warning(
                "symbol is not traded", symbol=change.symbol, status=change.now, status_before=change.before
            )
