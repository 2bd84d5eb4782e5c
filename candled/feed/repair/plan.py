"""Decides which request is worth its weight next. Plain: no clock, no I/O; what it knows comes in as arguments.

A page of raw trades weighs the same whether it fills one gap or a hundred (on Binance 25 of the 3,000 a minute
that repairs may use), so under unending loss a request for each gap would use up the budget long before the minute
is over. Hence, by worth:

1. Gaps in minutes that have closed come first: of symbols whose stream is live, the newest minutes first.
   - ``COUNT``: the klines of these minutes. Where their counts meet the known ids at both ends they prove the
     bars whole, whatever is missing inside, for the least weight of all.
   - ``AGGREGATES``: where the gaps are whole aggregates and sums of aggregates are exact, or the gap is long.
   - ``TRADES``: a page of raw trades, which fills every gap that it reaches.
   - ``KLINES``: the whole minutes inside a very long gap, after an absence.
2. Gaps in the minute that is still forming wait, unless there is weight that neither the reserve nor the close of
   the minute will need (``early_weight``): of that, half is spent on them, evenly over the minute.

Invariants: the steps of a plan never weigh more than the budget has left besides the exchange's ``reserve``; no
step of less worth takes the weight that one of more worth waits for; a symbol has one step at a time.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

import attrs

from candled.feed.adapter import Capabilities

Gap = tuple[int, int]
"""First and last of a range of missing trade ids."""

EARLY_SHARE: Final = 0.5
"""Of the weight that neither the reserve nor the close of the minutes needs, what forming minutes may use."""
EDGE_SHARE: Final = 0.2
"""Of the symbols, those whose minute cannot be proven by counting, as a gap lies across its end."""
EDGE_IDS: Final = 20
"""A gap of this size before the forming minute is an absence, not a lost message: the klines of the closed minutes
alone cannot account for it. It is fetched at once if that can be afforded, else counted when the minute closes."""
BUDGET_SECONDS: Final = 60.0
"""The time in which the budget may be used."""
WAIT_SECONDS: Final = 1.0
"""Until a look at a budget that was used up."""


class Way(Enum):
    """How a step gets what is missing."""

    NEWEST = "newest"
    """The newest trade, as ids came that cannot follow those known: what is missing may be of another epoch."""
    START = "start"
    """Find the last trade before the first bar of all."""
    SETTLE = "settle"
    """Klines of minutes in which no trade was seen."""
    COUNT = "count"
    AGGREGATES = "aggregates"
    TRADES = "trades"
    KLINES = "klines"


@attrs.frozen(slots=True, kw_only=True)
class RepairWays:
    """Which way a long gap is filled, by its number of ids."""

    aggregates_from: int = 5_000
    """From here on aggregates are fetched instead of raw trades: they weigh far less."""
    klines_from: int = 20_000
    """From here on its whole minutes are taken from klines."""
    kline_minutes_min: int = 5
    """Fewer whole minutes than that are fetched as trades."""


@attrs.frozen(slots=True, kw_only=True)
class Budget:
    """Request weight in the last minute, and for how many symbols it must last."""

    limit: int
    used: int
    used_early: int
    """Of this, what was used for minutes that were still forming."""
    symbols: int
    """Symbols that are repaired when they lack something."""


@attrs.frozen(slots=True, kw_only=True)
class Need:
    """What one symbol lacks now, and can be asked for."""

    symbol: str
    has_candidate: bool = False
    """Whether ids came that cannot follow those known."""
    starts: bool = False
    """Whether its first bar waits for the trade before it."""
    settles: bool = False
    """Whether silent minutes wait for their klines."""
    gaps: tuple[Gap, ...] = ()
    """Lowest first."""
    forming_from: int | None = None
    """Lowest id known of a minute that has not closed."""
    countable: bool = False
    """Whether klines may prove minutes that have closed."""
    is_live: bool = True
    """Whether its stream is connected."""
    aggregates_exact: bool = False
    """Whether sums of its aggregates are exact."""
    reads_aggregates: bool = False
    """Whether its stream is one of aggregates, so that its gaps are whole ones."""
    raw_only: frozenset[int] = frozenset()
    """First ids of gaps that aggregates did not fill."""
    trades_only: frozenset[int] = frozenset()
    """First ids of gaps that klines did not fill."""
    early_at: float = float("-inf")
    """When trades of a forming minute were last asked for."""


@attrs.frozen(slots=True)
class Step:
    """One request, or a few that belong together, for one symbol."""

    symbol: str
    way: Way
    weight: int
    gaps: tuple[Gap, ...] = ()
    """What it is to fill, lowest first."""
    is_early: bool = False
    """Whether the minute is still forming."""
    is_absence: bool = False
    """Whether it fills a long gap before the forming minute, after a start or a lost connection."""


@attrs.frozen(slots=True)
class Plan:
    """What to do now, the most worthwhile first, and seconds until it is worth planning again."""

    steps: tuple[Step, ...]
    wait: float = float("inf")


def make_plan(
    needs: Iterable[Need], budget: Budget, capabilities: Capabilities, ways: RepairWays, now: float
) -> Plan:
    """Choose what to ask for.

    Args:
        needs: of symbols that have no step under way.
        budget: the weight used and allowed.
        capabilities: of the exchange.
        ways: bounds of long gaps.
        now: local monotonic clock, seconds.
    """
    needs = list(needs)
    left = budget.limit - budget.used - capabilities.weights.reserve
    steps: list[Step] = []
    wait = float("inf")
    early: list[tuple[Need, Step]] = []
    for step, need in sorted(
        ((_step(need, capabilities, ways), need) for need in needs), key=lambda found: _rank(*found)
    ):
        if step is None:
            continue
        if step.is_early:
            early.append((need, step))
        elif step.weight <= left:
            steps.append(step)
            left -= step.weight
        else:
            wait = WAIT_SECONDS
            left = 0  # nothing cheaper overtakes what is more urgent
    allowed = early_weight(budget, capabilities)
    spacing = BUDGET_SECONDS * sum(step.weight for _, step in early) / allowed if allowed > 0 else 0.0
    unused = min(left, allowed - budget.used_early)
    for need, step in early:
        delay = 0.0 if step.is_absence else need.early_at + spacing - now
        if step.weight > unused:
            wait = min(wait, WAIT_SECONDS)
        elif delay > 0:
            wait = min(wait, delay)
        else:
            steps.append(step)
            unused -= step.weight
    return Plan(tuple(steps), wait)


def pages(gaps: Iterable[Gap], page: int, short: int) -> list[tuple[Gap, ...]]:
    """Return gaps by the page of raw trades that reaches them, lowest first.

    Args:
        gaps: lowest first.
        page: rows of a page.
        short: a gap of this size or more is by itself, as it is filled in another way.
    """
    found: list[list[Gap]] = []
    for first, last in gaps:
        if found and first < found[-1][0][0] + page and _size(found[-1][0]) < short:
            found[-1].append((first, last))
        else:
            found.append([(first, last)])
    return [tuple(gaps) for gaps in found]


def _rank(step: Step | None, need: Need) -> tuple[bool, bool, bool, float]:
    """Order of worth: what closed before what forms, live symbols first, then who waited longest for a page."""
    if step is None:
        return True, True, True, 0.0
    is_first = step.way in (Way.NEWEST, Way.START, Way.SETTLE, Way.COUNT)
    return step.is_early, not need.is_live, not is_first, need.early_at


def _step(need: Need, capabilities: Capabilities, ways: RepairWays) -> Step | None:
    """The next step for one symbol."""
    weights = capabilities.weights
    if need.has_candidate:
        return Step(need.symbol, Way.NEWEST, weights.trades)
    if need.starts:
        return Step(need.symbol, Way.START, weights.aggregates)
    closed = [gap for gap in need.gaps if need.forming_from is None or gap[0] < need.forming_from]
    if closed:
        return _fill(need, closed, capabilities, ways)
    if need.settles:
        return Step(need.symbol, Way.SETTLE, weights.klines)
    if not need.gaps:
        return None
    return attrs.evolve(_fill_pages(need, need.gaps, capabilities, ways), is_early=True)


def _fill(need: Need, closed: Sequence[Gap], capabilities: Capabilities, ways: RepairWays) -> Step:
    """Fill gaps of minutes that have closed, or across the end of one."""
    if need.countable and capabilities.klines_carry_trade_count:
        return Step(need.symbol, Way.COUNT, capabilities.weights.klines)
    touches = need.forming_from is not None and closed[-1][1] + 1 == need.forming_from
    is_absence = touches and EDGE_IDS <= _size(closed[-1]) < ways.klines_from
    step = _fill_pages(need, need.gaps, capabilities, ways)
    return attrs.evolve(step, is_early=is_absence, is_absence=is_absence)


def _fill_pages(need: Need, gaps: Sequence[Gap], capabilities: Capabilities, ways: RepairWays) -> Step:
    """Fill the gaps of one page, the newest."""
    weights, page = capabilities.weights, capabilities.page
    newest = pages(gaps, page, min(ways.aggregates_from, ways.klines_from))[-1]
    first, size = newest[0][0], _size(newest[0])
    if size >= ways.klines_from and first not in need.trades_only and capabilities.klines_carry_trade_count:
        return Step(need.symbol, Way.KLINES, 2 * weights.trades + weights.klines + 3 * weights.aggregates, newest)
    exact = capabilities.aggregates_exact and need.aggregates_exact
    whole = need.reads_aggregates or size >= ways.aggregates_from
    if exact and whole and first not in need.raw_only:
        span = newest[-1][1] - first + 1
        return Step(need.symbol, Way.AGGREGATES, weights.aggregates * (1 + span // page), newest)
    return Step(need.symbol, Way.TRADES, weights.trades, newest)


def early_weight(budget: Budget, capabilities: Capabilities) -> float:
    """Return the weight a minute that forming minutes may use, so that the close of each can still be paid for."""
    weights = capabilities.weights
    close: float = weights.trades
    if capabilities.klines_carry_trade_count:
        close = weights.klines + EDGE_SHARE * weights.trades
    return (budget.limit - weights.reserve - close * budget.symbols) * EARLY_SHARE


def _size(gap: Gap) -> int:
    return gap[1] - gap[0] + 1
