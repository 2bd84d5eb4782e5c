"""What a repair's failed requests decide: the backoff of each gap, and what to give up. Plain."""

import random
from collections import Counter
from collections.abc import Hashable
from typing import Final

import attrs

from candled.feed.repair.plan import Gap
from candled.retry import Backoff

UNFILLABLE_TRIES: Final = 4
"""Answers in which the exchange passes over an id before it counts as one that the exchange does not have."""
REFUSED_TRIES: Final = 3
"""Answers in which a row is refused before it counts as one that is not to be had."""
LAGGING_TRIES: Final = 2
"""Answers without the newest ids that are taken for an ordinary lag."""


@attrs.define
class _Try:
    """The backoff of one key, and the time until which it is not asked for."""

    backoff: Backoff
    until: float


class Attempts:
    """Failed requests by key. Each key has its own backoff, so that none delays the others."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._tries: dict[Hashable, _Try] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def put_off(self, key: Hashable, now: float) -> None:
        """Note a failed request: the key waits for its next, longer backoff."""
        tried = self._tries.get(key)
        if tried is None:
            tried = self._tries[key] = _Try(Backoff(self._rng), now)
        tried.until = now + tried.backoff.next()

    def put_back(self, key: Hashable) -> None:
        """Forget the key's backoff: it may be asked for at once."""
        self._tries.pop(key, None)

    def waits(self, key: Hashable, now: float) -> bool:
        """Return whether the key's backoff still runs."""
        tried = self._tries.get(key)
        return tried is not None and tried.until > now

    def is_lagging(self, key: Hashable) -> bool:
        """Return whether an answer that lacks the newest may be an ordinary lag: it was not asked for often."""
        tried = self._tries.get(key)
        return tried is None or tried.backoff.tries < LAGGING_TRIES

    def next_try(self, now: float) -> float:
        """Return seconds until the first backoff is over; infinite if none runs."""
        return min(
            (tried.until - now for tried in self._tries.values() if tried.until > now), default=float("inf")
        )


class Evidence:
    """Counts answers that lack or refuse what was asked for, until it is given up."""

    def __init__(self) -> None:
        self.wanted_since: dict[Gap, int] = {}
        """Exchange time of the first request for these newest ids that did not show them."""
        self._passed_over: Counter[Gap] = Counter()
        self._refused: Counter[int] = Counter()
        self._refused_klines: Counter[int] = Counter()

    def passed_over(self, gap: Gap) -> int:
        """Count an answer that passed over these ids; return how many did: ``UNFILLABLE_TRIES`` are enough."""
        self._passed_over[gap] += 1
        return self._passed_over[gap]

    def row_given_up(self, first_id: int) -> bool:
        """Count an answer in which this row was refused; return whether that is enough."""
        return _is_enough(self._refused, first_id)

    def kline_given_up(self, open_time: int) -> bool:
        """Count an answer in which the kline of this minute may be refused; return whether that is enough."""
        return _is_enough(self._refused_klines, open_time)


def _is_enough(counts: Counter[int], key: int) -> bool:
    counts[key] += 1
    if counts[key] < REFUSED_TRIES:
        return False
    del counts[key]
    return True
