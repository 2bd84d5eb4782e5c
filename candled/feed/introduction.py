"""Asks the exchange for itself and for symbols until it answers: before that there is nothing to read."""

import random
from collections.abc import Callable, Sequence

import trio

from candled.errors import UserError
from candled.feed.backoff import Backoff
from candled.feed.interface import ExchangeDescription, SourceRefusedError, SourceUnavailableError, TradeSource


async def introduce(
    source: TradeSource,
    symbols: Sequence[str],
    rng: random.Random,
    waiting: Callable[[SourceUnavailableError, float], None],
) -> ExchangeDescription:
    """The exchange's description of itself and of these symbols, all of which it has.

    Args:
        source: who is asked.
        symbols: which must be there.
        rng: jitter between tries.
        waiting: told of each try that got no answer, and in how many seconds the next one comes.

    Raises:
        UnknownSymbolError: it does not have one of them.
        UserError: it refuses to answer.
    """
    backoff = Backoff(rng)
    while True:
        try:
            description = await source.describe(symbols)
        except SourceUnavailableError as error:
            delay = backoff.next()
            waiting(error, delay)
            await trio.sleep(delay)
        except SourceRefusedError as error:
            raise UserError(f"The exchange refuses to describe the symbols: {error.args[0]}.") from error
        else:
            description.check(symbols)
            return description
