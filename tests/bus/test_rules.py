"""The plain rules of the bus, one behaviour at a time; the simulation has them together."""

import pytest

from candled.bus.appends import ANSWER_SECONDS, REFUSED_LOOK, RETRY_SECONDS, Append, Appends
from candled.bus.hedge import HELD_MAX, Hedge
from candled.bus.incarnation import Continuation, LogState, judge
from candled.bus.order import EdgeOrder, RisingBars
from candled.bus.roster import FRESH_SECONDS, IngesterStatus, Roster, newest_time
from candled.bus.symbol_log import MINUTES_MAX, SymbolLog
from candled.domain.event import UPDATE, BarEvent, BarEventKind
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.engine.rollup import RollUp
from tests.bus.bars import close, update
from tests.bus.simulation import SYMBOL


def entry(log: SymbolLog) -> tuple[BarEventKind, int, int] | None:
    event = log.next(0.0)
    return None if event is None else (event.kind, event.bar.revision, event.bar.trade_count)


def test_the_log_numbers_revisions() -> None:
    """A better bar of a logged minute is its next revision, whatever number the ingester gave it."""
    log = SymbolLog()
    log.read(7, close(0, 2, revision=4).bar)
    log.offer(close(0, 3), 0.0)

    assert entry(log) == (BarEventKind.REVISION, 5, 3)
    assert log.sequence == 7


@pytest.mark.parametrize(("logged", "mine"), [(3, 2), (3, 3), (2, 2), (2, 1)])
def test_what_is_no_better_is_dropped(logged: int, mine: int) -> None:
    """An offered bar that knows no more than the log's is not appended."""
    log = SymbolLog()
    log.read(1, close(0, logged).bar)
    log.offer(close(0, mine), 0.0)

    assert entry(log) is None
    assert log.waiting == 0


def test_a_late_first_bar_is_a_revision() -> None:
    """A minute that was left out is decided later, and raises the revisions of bars that closed without it."""
    log = SymbolLog()
    log.read(1, close(5).bar)
    log.offer(close(4), 0.0)

    assert entry(log) == (BarEventKind.REVISION, 1, 3)


def test_contradicting_proofs_are_counted() -> None:
    """Two proofs of one minute that differ are a fault; the first one stays."""
    log = SymbolLog()
    log.read(1, close(0, 3).bar)
    log.offer(close(0, 4, total=4), 0.0)

    assert entry(log) is None
    assert log.contradictions == 1


def test_too_old_minutes_are_not_judged() -> None:
    """A minute that the log may have forgotten is not appended again as if it were new."""
    log = SymbolLog()
    log.read(1, close(MINUTES_MAX).bar)
    log.offer(close(0), 0.0)
    log.offer(close(1), 0.0)

    assert entry(log) == (BarEventKind.REVISION, 1, 3)
    assert log.too_old == 1


def test_memory_is_bounded() -> None:
    """Summaries of old minutes are dropped."""
    log = SymbolLog(minutes_max=10)
    for minute in range(100):
        log.read(minute + 1, close(minute).bar)

    assert "minutes=10," in repr(log)


def test_a_close_waits_for_lower_ranks() -> None:
    """An ingester of a higher rank appends when its delay is over, unless it read the bar by then."""
    appends = Appends(delay=0.1)
    appends.offer([close(0), close(1)], 5.0)

    assert appends.take_due(5.09) == []
    appends.read(1, close(0).bar)
    assert [each.event.bar.open_time for each in appends.take_due(5.1)] == [close(1).bar.open_time]


def under_way(appends: Appends, now: float = 0.0) -> Append:
    (append,) = appends.take_due(now)
    return append


def test_one_append_of_a_symbol_at_a_time() -> None:
    """The next one goes when the first is acknowledged, with its sequence as the expected one."""
    appends = Appends()
    appends.offer([close(0), close(1)], 0.0)
    first = under_way(appends)
    assert appends.take_due(0.1) == []
    appends.stored(first, 9)

    assert under_way(appends, 0.1).expected == 9
    assert appends.counts == {"stored": 1}


def test_a_refused_append_is_judged_again() -> None:
    """After a refusal the reader brings what was first; only what is still news is appended."""
    appends = Appends()
    appends.offer([close(0)], 0.0)
    assert not appends.refused(under_way(appends), 0.0)
    assert appends.take_due(0.01) == []
    appends.read(1, close(0).bar)

    assert appends.take_due(0.02) == []
    assert appends.waiting == 0


def test_an_unexplained_refusal_asks_the_log() -> None:
    """If the reader brings nothing, the log is asked for the symbol's last entry: all may be gone by age."""
    appends = Appends()
    appends.read(7, close(0).bar)
    appends.offer([close(1)], 0.0)
    asked = [
        appends.refused(under_way(appends, number * RETRY_SECONDS), number * RETRY_SECONDS)
        for number in range(REFUSED_LOOK)
    ]
    assert asked == [*[False] * (REFUSED_LOOK - 1), True]
    appends.emptied(SYMBOL)

    assert under_way(appends, 99.0).expected == 0


def test_an_append_without_an_answer_is_sent_again() -> None:
    """It may be stored or not: compare-and-set refuses the second one if it is."""
    appends = Appends()
    appends.offer([close(0)], 0.0)
    first = under_way(appends)
    assert appends.take_due(ANSWER_SECONDS) == []
    second = under_way(appends, ANSWER_SECONDS + RETRY_SECONDS)

    assert (second.event, second.expected) == (first.event, first.expected)
    appends.stored(first, 3)  # late
    assert not appends.refused(second, 9.0)
    assert appends.take_due(9.0) == []
    assert appends.counts == {"lost": 1, "stored": 1, "refused": 1}


def test_rank_0_publishes_at_once() -> None:
    """It waits for nobody."""
    assert Hedge(0.0).offer(update(0, 1), 0.0) == [update(0, 1)]


def test_a_higher_rank_is_silent_beside_a_lower() -> None:
    """What a lower rank published is dropped; what it did not is published when the delay is over."""
    hedge = Hedge(0.1)
    assert hedge.offer(update(0, 1), 0.0) == ()
    assert hedge.offer(update(0, 2), 0.05) == ()
    hedge.observe(update(0, 1).bar)

    assert hedge.is_holding
    assert hedge.take_due(0.14) == ()
    assert hedge.take_due(0.16) == [update(0, 2)]
    assert hedge.offer(update(0, 3), 0.17) == [update(0, 3)]
    assert not hedge.is_holding


def test_alone_it_publishes_at_once() -> None:
    """After a delay without the lower rank, until that one publishes as much as was published here."""
    hedge = Hedge(0.1)
    hedge.offer(update(0, 5), 0.0)
    hedge.take_due(0.1)
    assert hedge.offer(update(0, 6), 0.2) == [update(0, 6)]
    hedge.observe(update(0, 3).bar)  # it woke up and is behind
    assert hedge.offer(update(0, 7), 0.3) == [update(0, 7)]
    hedge.observe(update(0, 8).bar)

    assert hedge.offer(update(0, 8), 0.4) == ()
    assert hedge.offer(update(0, 9), 0.5) == ()


def test_held_updates_are_bounded() -> None:
    """A burst beyond the limit drops the oldest ones."""
    hedge = Hedge(0.1)
    for number in range(HELD_MAX + 10):
        hedge.offer(update(0, number), 0.0)

    assert len(hedge.take_due(0.1)) == HELD_MAX


def test_updates_rise() -> None:
    """An update that says no more than one before is dropped."""
    order = EdgeOrder(0.5)

    passed = [order.update(update(0, known), 0.0) for known in (1, 3, 2, 3, 4)]
    assert [[each.bar.trade_count for each in events] for events in passed] == [[1], [3], [], [], [4]]
    assert order.dropped == 2


def test_an_update_waits_for_the_close_before() -> None:
    """The newest update of the next minute follows the close; those of the closed minute are over."""
    order = EdgeOrder(0.5)
    order.update(update(0, 3), 0.0)
    assert order.update(update(1, 1), 0.1) == ()
    assert order.update(update(1, 2), 0.2) == ()
    passed = order.close(close(0, position=4))

    assert list(passed) == [close(0, position=4), update(1, 2)]
    assert order.update(update(0, 9), 0.3) == ()
    assert list(order.update(update(1, 3), 0.3)) == [update(1, 3)]


def test_the_wait_is_bounded() -> None:
    """After ``hold`` updates of the next minute go on without the close."""
    order = EdgeOrder(0.5)
    order.update(update(0, 3), 0.0)
    order.update(update(1, 1), 0.1)
    order.update(update(1, 2), 0.4)
    assert order.take_overdue(0.59) == []
    assert order.take_overdue(0.6) == [update(1, 2)]

    assert list(order.update(update(1, 3), 0.7)) == [update(1, 3)]
    assert order.take_overdue(9.0) == []


def test_longer_bars_rise() -> None:
    """A minute revised after updates of a later one passed says nothing of a longer bar that came before."""
    rollup, rising = RollUp(), RisingBars()

    def published(event: BarEvent) -> list[tuple[BarEventKind, str, int]]:
        events = rising.pass_on(rollup.apply([event], lambda _symbol: ("1m", "3m")))
        return [(each.kind, each.bar.interval, each.bar.trade_count) for each in events]

    published(close(0, 2, position=1))
    assert published(update(3, 4)) == [(UPDATE, "1m", 4), (UPDATE, "3m", 4)]
    assert published(close(0, 3, revision=1, position=2)) == [(BarEventKind.REVISION, "1m", 3)]
    assert published(update(3, 5)) == [(UPDATE, "1m", 5), (UPDATE, "3m", 5)]
    rising.forget(SYMBOL)
    assert published(update(3, 5)) == [(UPDATE, "1m", 5), (UPDATE, "3m", 5)]


def test_entries_come_once() -> None:
    """An entry that is delivered again, or was read before the start, is dropped."""
    order = EdgeOrder(0.5)
    order.start_at(3, {SYMBOL: close(1).bar.close_time})

    assert order.close(close(1, position=3)) == ()
    assert list(order.close(close(2, position=4))) == [close(2, position=4)]
    assert order.close(close(2, position=4)) == ()
    assert order.update(update(1, 9), 0.0) == ()


@pytest.mark.parametrize(
    ("found", "position", "continuation"),
    [
        (LogState("a", "x", 1, 9), 9, Continuation.SAME),
        (LogState("a", "x", 10, 9), 9, Continuation.SAME),
        (LogState("a", "x", 5, 9), 0, Continuation.SAME),
        (LogState("a", "x", 5, 9), 3, Continuation.CUT),
        (LogState("a", "x", 1, 8), 9, Continuation.REPLACED),
        (LogState("b", "x", 1, 9), 9, Continuation.REPLACED),
    ],
)
def test_a_log_is_judged(found: LogState, position: int, continuation: Continuation) -> None:
    """A reader goes on only in the log that it read, and only without a hole."""
    assert judge("a", position, found) is continuation


def report(name: str, rank: int, **live: bool) -> IngesterStatus:
    symbols = tuple(
        SymbolStatus(symbol=symbol, trading_status="TRADING", live=is_live) for symbol, is_live in live.items()
    )
    status = DaemonStatus(version="1", start_time=0, exchange="x", exchange_time=rank + 1, symbols=symbols)
    return IngesterStatus(name, rank, tuple(live), status)


def test_the_roster_takes_the_best_report() -> None:
    """A symbol is live if any ingester reads it; the symbols are those of all ingesters."""
    roster = Roster()
    roster.record(report("b", 1, A=True, B=False), 0.0)
    roster.record(report("a", 0, A=False, C=True), 0.0)

    assert [each.name for each in roster.fresh(1.0)] == ["a", "b"]
    assert {each.symbol: each.live for each in roster.symbol_status(1.0)} == {"A": True, "B": False, "C": True}
    assert roster.not_live(1.0) == ["B"]
    assert newest_time(roster.fresh(1.0)) == 2


def test_states_come_in_parts() -> None:
    """Of many symbols a report has the states of some; the others stay as they were, unless they are gone."""
    roster = Roster()
    roster.record(report("a", 0, A=True, B=True, C=True), 0.0)
    some = report("a", 0, B=False)
    roster.record(IngesterStatus("a", 0, ("A", "B"), some.status), 1.0)

    assert {each.symbol: each.live for each in roster.symbol_status(1.0)} == {"A": True, "B": False}
    assert roster.symbols() == {"A", "B"}


def test_symbols_outlive_their_ingesters() -> None:
    """Of a shard without ingesters the symbols stay, not live, whatever others report."""
    roster = Roster()
    roster.record(report("a", 0, A=True), 0.0)
    roster.record(report("b", 0, B=True), 2.0)
    roster.record(report("b", 0, B=True), FRESH_SECONDS + 1.0)

    assert roster.symbols() == {"A", "B"}
    assert roster.not_live(FRESH_SECONDS + 1.0) == ["A"]
    assert roster.live_ingesters(FRESH_SECONDS + 1.0) == {"A": 0, "B": 1}
    assert [each.name for each in roster.fresh(FRESH_SECONDS + 1.0)] == ["b"]
    assert roster.not_live(99.0) == ["A", "B"]


def test_a_successor_says_which_symbols_there_are() -> None:
    """Ingesters that come back without a symbol have removed it, though those before them had it."""
    roster = Roster()
    for name in ("a", "b"):
        roster.record(report(name, 0, A=True, B=True), 0.0)
    roster.record(report("c", 0, A=True), 1.0)
    assert roster.symbols() == {"A", "B"}

    roster.record(report("c", 0, A=True), FRESH_SECONDS + 1.0)

    assert roster.symbols() == {"A"}


def test_live_ingesters_of_each_symbol() -> None:
    """Ingesters of a symbol count while they read it live."""
    roster = Roster()
    roster.record(report("a", 0, A=True, B=False), 0.0)
    roster.record(report("b", 1, A=True, B=True), 0.0)

    assert roster.live_ingesters(1.0) == {"A": 2, "B": 1}
