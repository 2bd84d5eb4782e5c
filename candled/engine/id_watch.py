"""Trade ids that cannot follow those known: a wrong row, or a reset of the exchange's ids.

Trade ids of a symbol rise by one. Two things break that: a row with a wrong id, and an exchange that resets its
ids (a test network, a symbol that is listed again). A trade is not counted if its id is too far ahead for the time
since the newest trade, or lower although the trade is later. It becomes a *candidate*, which later trades may
continue. Once ``CANDIDATE_TRADES`` trades in a row have continued one, the newest trade is asked for over REST: it
continues either the candidate or the ids known before.

State kept: a few candidates, each with its first and last trade. Plain: no clock, no I/O.
"""

from typing import Final

import attrs

from candled.domain.interval import MICROSECONDS
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.trade import Trade

IDS_PER_SECOND: Final = 1_000
"""By which ids may rise in a second, beside ``ID_JUMP_MAX`` at once: many times what the busiest symbol trades."""
CANDIDATE_TRADES: Final = 5
"""Trades in a row after which the exchange is asked whether a candidate is right."""
CANDIDATES_MAX: Final = 4
"""Candidates remembered; the oldest is forgotten."""
STEP_MAX: Final = 1_000
"""By which the ids of a candidate may rise from one trade to the next."""
FILLED_MAX: Final = 50_000_000
"""Maximum ids of a jump whose trades are fetched; a longer one counts as a reset."""
ORDER_TOLERANCE: Final = 1 * MICROSECONDS
"""By which a live trade may be earlier than one of a lower id."""


def ids_within(time: int) -> int:
    """How many ids may come within a time, microseconds."""
    return ID_JUMP_MAX + max(0, time) * IDS_PER_SECOND // MICROSECONDS


@attrs.define(slots=True)
class Candidate:
    """Trades that continue each other and not what was known."""

    first: Trade
    last: Trade
    trades: int = 1

    def is_continued_by(self, trade: Trade) -> bool:
        """Whether a trade comes right after these."""
        return 0 < trade.first_id - self.last.last_id <= STEP_MAX and trade.time >= self.last.time


@attrs.frozen(slots=True)
class IdsJumped:
    """The exchange confirms that ids jumped ahead: those in between are missing."""

    candidate: Candidate


@attrs.frozen(slots=True)
class IdsReset:
    """The exchange confirms that ids were reset."""

    candidate: Candidate


@attrs.frozen(slots=True)
class IdEpoch:
    """A new epoch of a symbol's trade ids."""

    symbol: str
    last_id: int
    """Highest id of the epoch before."""
    first_id: int


class IdWatch:
    """The candidates about one symbol's ids."""

    def __init__(self) -> None:
        self.refused = 0
        """Trades whose ids could not follow."""
        self._candidates: list[Candidate] = []

    @property
    def ready(self) -> Candidate | None:
        """The candidate to ask the exchange about, if there is one."""
        return next((candidate for candidate in self._candidates if candidate.trades >= CANDIDATE_TRADES), None)

    def note(self, trade: Trade, known: Trade | None) -> None:
        """A trade came whose id cannot follow those that are known.

        Args:
            trade: It.
            known: The trade with the highest id that was counted. Candidates that it is later than are dropped:
                after a reset or a jump none comes that continues the ids before.
        """
        self.refused += 1
        if known is not None:
            latest = known.time - ORDER_TOLERANCE
            self._candidates = [candidate for candidate in self._candidates if candidate.last.time >= latest]
        for candidate in self._candidates:
            if candidate.is_continued_by(trade):
                candidate.last, candidate.trades = trade, candidate.trades + 1
                return
            if candidate.first.first_id <= trade.first_id <= candidate.last.last_id:
                return  # the same again
        self._candidates.append(Candidate(trade, trade))
        del self._candidates[:-CANDIDATES_MAX]

    def judge(self, newest: Trade, known: Trade | None, horizon: int) -> IdsJumped | IdsReset | None:
        """Decide by the newest trade that the exchange's REST side shows; None: the ids known before go on.

        Args:
            newest: That trade. Earlier than one that was counted, or as early, it says nothing of what came later.
            known: The trade with the highest id that was counted.
            horizon: Highest id known to exist, apart from the candidates.
        """
        candidate = self.ready
        if candidate is None:
            return None
        self._candidates.clear()
        if known is not None and newest.time <= known.time:
            return None
        ahead = newest.last_id - candidate.last.last_id
        continues_candidate = -STEP_MAX <= ahead <= ids_within(newest.time - candidate.last.time)
        continues_known = candidate.last.last_id < horizon <= newest.last_id
        if not continues_candidate or continues_known:
            return None
        is_jump = horizon < candidate.first.first_id <= horizon + FILLED_MAX
        return IdsJumped(candidate) if is_jump else IdsReset(candidate)
