"""Longer bars equal `merge_bars` over all their minutes, whatever happens to the minutes."""

from collections.abc import Callable, Collection

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.engine.rebuilds import MinutesNeeded
from candled.engine.rollup import RollUp

START = 1_790_000_000_000_000 // (1440 * MINUTE) * (1440 * MINUTE)
LONGER = [interval for name, interval in INTERVALS.items() if name != "1m"]


def minute(
    index: int, *, trades: int = 3, price: int = 100, revision: int = 0, closed: bool = True, symbol: str = "A"
) -> Bar:
    open_time = START + index * MINUTE
    first = 1000 + index * 10 if trades else NO_TRADE
    return Bar(
        symbol=symbol,
        interval="1m",
        open_time=open_time,
        close_time=open_time + MINUTE,
        open=price,
        high=price + trades,
        low=price - trades,
        close=price + (1 if trades else 0),
        volume=trades * 7,
        quote_volume=trades * 11,
        trade_count=trades,
        taker_buy_volume=trades * 2,
        taker_buy_quote_volume=trades * 3,
        first_trade_id=first,
        last_trade_id=first + trades - 1 if trades else NO_TRADE,
        previous_trade_id=999 + index * 10,
        closed=closed,
        complete=closed,
        revision=revision,
    )


def event(kind: BarEventKind, bar: Bar, position: int = 0) -> BarEvent:
    return BarEvent(kind, bar, bar.close_time, position)


def every_interval(_symbol: str) -> list[str]:
    return list(INTERVALS)


def close_minutes(rollup: RollUp, count: int) -> list[BarEvent]:
    return rollup.apply([event(BarEventKind.CLOSE, minute(i), i + 1) for i in range(count)])


def rebuild(
    rollup: RollUp,
    need: MinutesNeeded,
    minutes: list[Bar],
    wanted: Callable[[str], Collection[str]] = lambda _symbol: (),
) -> list[BarEvent]:
    return rollup.rebuild(need.symbol, need.interval, need.open_time, minutes, wanted)


def emitted(events: list[BarEvent], interval: str, kind: BarEventKind) -> list[Bar]:
    return [e.bar for e in events if e.bar.interval == interval and e.kind is kind]


def test_longer_bar_takes_its_last_minutes_position() -> None:
    events = close_minutes(RollUp(), 5)
    closed = [e for e in events if e.bar.interval == "5m"]
    assert [e.position for e in closed] == [5]
    assert closed[0].bar == merge_bars([minute(i) for i in range(5)], INTERVALS["5m"])


def test_shortest_interval_is_emitted_first() -> None:
    events = close_minutes(RollUp(), 60)
    assert [e.bar.interval for e in events if e.position == 60] == ["1m", "3m", "5m", "15m", "30m", "1h"]


def test_updates_are_emitted_only_for_wanted_intervals() -> None:
    rollup = RollUp()
    close_minutes(rollup, 2)
    forming = minute(2, closed=False)
    out = rollup.apply([event(BarEventKind.UPDATE, forming)], lambda _symbol: ("5m",))
    assert [e.bar.interval for e in out] == ["1m", "5m"]
    assert out[1].bar == merge_bars([minute(0), minute(1), forming], INTERVALS["5m"])


def test_snapshot_needs_no_subscriber() -> None:
    rollup = RollUp()
    close_minutes(rollup, 130)
    rollup.apply([event(BarEventKind.UPDATE, minute(130, closed=False))])
    minutes = [minute(i) for i in range(130)] + [minute(130, closed=False)]
    assert rollup.forming("A", "1d") == merge_bars(minutes, INTERVALS["1d"])
    assert rollup.forming("A", "1m") == minutes[-1]
    assert rollup.forming("B", "1d") is None


def test_bar_without_its_last_minute_closes_incomplete() -> None:
    """A longer bar whose last minute is withheld closes with the next minute, not complete."""
    rollup = RollUp()
    close_minutes(rollup, 4)
    out = rollup.apply([event(BarEventKind.CLOSE, minute(5), 6)])
    (bar,) = emitted(out, "5m", BarEventKind.CLOSE)
    assert (bar.closed, bar.complete) == (True, False)


def test_withheld_minute_revises_the_longer_bar() -> None:
    rollup = RollUp()
    close_minutes(rollup, 4)
    rollup.apply([event(BarEventKind.CLOSE, minute(5), 6)])
    out = rollup.apply([event(BarEventKind.REVISION, minute(4), 7)])
    assert emitted(out, "5m", BarEventKind.REVISION) == [
        merge_bars([minute(i) for i in range(5)], INTERVALS["5m"])
    ]


def test_outage_leaves_no_bars_in_between() -> None:
    """The bar that the outage cut short closes, and none is made for the time without minutes."""
    rollup = RollUp()
    close_minutes(rollup, 2)
    out = rollup.apply([event(BarEventKind.CLOSE, minute(301), 3)])
    assert [(bar.open_time - START) // MINUTE for bar in emitted(out, "5m", BarEventKind.CLOSE)] == [0]
    assert [(bar.open_time - START) // MINUTE for bar in emitted(out, "4h", BarEventKind.CLOSE)] == [0]


def test_old_revision_waits_for_its_minutes() -> None:
    """A revision of an evicted minute asks for the bar's minutes and is emitted when they come."""
    rollup = RollUp()
    close_minutes(rollup, 600)
    revised = minute(3, trades=4, revision=1)
    out = rollup.apply([event(BarEventKind.REVISION, revised, 601)])
    assert emitted(out, "5m", BarEventKind.REVISION) == []
    needs = {need.interval: need for need in rollup.take_needed()}
    assert rollup.take_needed() == []
    stored = [minute(i) for i in range(5)]  # the journal does not have the revision yet
    (rebuilt,) = rebuild(rollup, needs["5m"], stored)
    assert rebuilt.position == 601
    assert rebuilt.bar == merge_bars([revised if i == 3 else minute(i) for i in range(5)], INTERVALS["5m"])


def test_events_carry_the_resume_floor() -> None:
    """Until a longer bar is rebuilt, every event has the position from which it is pending."""
    rollup = RollUp()
    close_minutes(rollup, 600)
    first = rollup.apply([event(BarEventKind.REVISION, minute(3, revision=1), 601)])
    later = rollup.apply([event(BarEventKind.CLOSE, minute(600), 602)])
    assert {e.resume_floor for e in first + later} == {601}
    rebuilt = [e for need in rollup.take_needed() for e in rebuild(rollup, need, [minute(3)])]
    assert [e.resume_floor for e in rebuilt[:1] + rebuilt[-1:]] == [601, 0]
    assert rollup.apply([event(BarEventKind.CLOSE, minute(601), 603)])[0].resume_floor == 0


def test_rebuilt_bar_corrects_longer_forming_bars() -> None:
    rollup = RollUp()
    close_minutes(rollup, 600)
    revised = minute(3, trades=4, revision=1)
    rollup.apply([event(BarEventKind.REVISION, revised, 601)])
    bars = [revised if i == 3 else minute(i) for i in range(600)]
    for need in rollup.take_needed():
        first = (need.open_time - START) // MINUTE
        rebuild(rollup, need, bars[first : first + (need.close_time - need.open_time) // MINUTE])
    assert rollup.forming("A", "1d") == merge_bars(bars, INTERVALS["1d"])


@pytest.mark.parametrize("longest_first", [False, True])
def test_rebuilt_bar_keeps_pending_minutes(longest_first: bool) -> None:
    """In any order of rebuilding, the last revision of an hour has all its minutes."""
    rollup = RollUp()
    bars = [minute(index, revision=int(index < 59)) for index in range(60)]
    rollup.apply([event(BarEventKind.CLOSE, minute(i), i) for i in (59, *range(60, 71))])
    hour_revisions = []
    for position, bar in enumerate(bars[:59], 71):  # all but the last minute were withheld
        out = rollup.apply([event(BarEventKind.REVISION, bar, position)])
        hour_revisions += emitted(out, "1h", BarEventKind.REVISION)
    needs = sorted(rollup.take_needed(), key=lambda need: need.close_time - need.open_time, reverse=longest_first)
    for need in needs:
        first = (need.open_time - START) // MINUTE
        out = rebuild(rollup, need, bars[first : first + (need.close_time - need.open_time) // MINUTE])
        hour_revisions += [bar for bar in emitted(out, "1h", BarEventKind.REVISION) if bar.open_time == START]
    assert [bar.revision for bar in hour_revisions] == sorted(bar.revision for bar in hour_revisions)
    assert hour_revisions[-1] == merge_bars(bars, INTERVALS["1h"])


def test_late_minute_enters_the_forming_bar() -> None:
    rollup = RollUp()
    late = minute(60, trades=1)
    bars = [minute(i) for i in range(105, 110)]
    rollup.apply([event(BarEventKind.CLOSE, bar, i) for i, bar in enumerate(bars, 1)])
    rollup.apply([event(BarEventKind.REVISION, late, 10)])
    for need in rollup.take_needed():
        rebuild(rollup, need, [late])
    assert rollup.forming("A", "2h") == merge_bars([late, *bars], INTERVALS["2h"])


def test_memory_does_not_grow_with_time() -> None:
    rollup = RollUp()
    close_minutes(rollup, 3 * 1440)
    kept = sum(len(bars) for bars in rollup._symbols["A"].closed.values())
    assert kept < 90


def test_seeded_rollup_continues_another() -> None:
    left = RollUp()
    events = close_minutes(left, 1000)
    time = START + 1000 * MINUTE
    seeded = RollUp()
    for name, start in RollUp.seed_ranges(time).items():
        seeded.seed("A", [e.bar for e in events if e.bar.interval == name and e.bar.open_time >= start])
    more = [event(BarEventKind.CLOSE, minute(i), i) for i in range(1000, 1500)]
    assert seeded.apply(more) == left.apply(more)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[BarEventKind, Bar]]:
    """Minutes that form, close, are withheld, come late and are revised."""
    out: list[tuple[BarEventKind, Bar]] = []
    known: dict[int, Bar] = {}
    withheld: list[int] = []
    index = draw(st.integers(0, 1500))
    for _ in range(draw(st.integers(1, 60))):
        trades = draw(st.integers(0, 3))
        price = draw(st.integers(50, 60))
        out += [
            (BarEventKind.UPDATE, minute(index, trades=count, price=price, closed=False))
            for count in range(1, trades + 1)
        ]
        if draw(st.integers(0, 9)) == 0 and not trades:
            withheld.append(index)
        else:
            known[index] = minute(index, trades=trades, price=price)
            out.append((BarEventKind.CLOSE, known[index]))
        if known and draw(st.integers(0, 3)) == 0:
            old = draw(st.sampled_from(sorted(known)))
            bar = known[old] = minute(
                old, trades=known[old].trade_count + 1, price=known[old].open, revision=known[old].revision + 1
            )
            out.append((BarEventKind.REVISION, bar))
        if withheld and known and draw(st.booleans()):
            old = withheld.pop()
            if old < max(known):
                known[old] = minute(old, trades=1, price=price)
                out.append((BarEventKind.REVISION, known[old]))
        index += draw(st.sampled_from([1, 1, 1, 1, 1, 1, 7, 45, 400]))
    return out


@settings(max_examples=60, deadline=None)
@given(histories(), st.data())
def test_late_history_never_reverts_a_longer_bar(
    history: list[tuple[BarEventKind, Bar]], data: st.DataObject
) -> None:
    rollup = RollUp()
    minutes: dict[int, Bar] = {}
    newest: dict[tuple[str, int], Bar] = {}
    waiting: list[MinutesNeeded] = []

    def take(events: list[BarEvent]) -> None:
        for event in events:
            bar = event.bar
            if event.kind is not BarEventKind.UPDATE and bar.interval != "1m":
                known = newest.get((bar.interval, bar.open_time))
                assert known is None or bar.revision >= known.revision
                assert known is None or bar.trade_count >= known.trade_count
                newest[bar.interval, bar.open_time] = bar

    def answer(count: int) -> None:
        for need in waiting[:count]:
            stored = [minutes[t] for t in sorted(minutes) if need.open_time <= t < need.close_time]
            take(rebuild(rollup, need, stored))
        del waiting[:count]

    for position, (kind, bar) in enumerate(history, 1):
        if kind is not BarEventKind.UPDATE:
            minutes[bar.open_time] = bar
        take(rollup.apply([event(kind, bar, position)]))
        waiting += rollup.take_needed()
        answer(data.draw(st.integers(0, 3)))
    answer(len(waiting))
    closed_until = max((bar.close_time for bar in minutes.values()), default=0)
    for interval in LONGER:
        for open_time in {interval.floor(t) for t in minutes}:
            inside = [minutes[t] for t in sorted(minutes) if open_time <= t < interval.end(open_time)]
            if interval.end(open_time) <= closed_until:
                expected = msgspec.structs.replace(merge_bars(inside, interval), closed=True)
                assert newest[interval.name, open_time] == expected


@settings(max_examples=40, deadline=None)
@given(histories())
def test_newest_bars_equal_merged_minutes(history: list[tuple[BarEventKind, Bar]]) -> None:
    rollup = RollUp()
    minutes: dict[int, Bar] = {}
    newest: dict[tuple[str, int], Bar] = {}
    forming: Bar | None = None
    for position, (kind, bar) in enumerate(history, 1):
        forming = bar if kind is BarEventKind.UPDATE else None if kind is BarEventKind.CLOSE else forming
        if kind is not BarEventKind.UPDATE:
            minutes[bar.open_time] = bar
        out = rollup.apply([event(kind, bar, position)], every_interval)
        needs = rollup.take_needed()
        for need in needs:
            stored = [minutes[t] for t in sorted(minutes) if need.open_time <= t < need.close_time]
            out += rebuild(rollup, need, stored, every_interval)
        for emission in out:
            if emission.kind is BarEventKind.UPDATE and emission.bar.interval != "1m":
                if needs:
                    continue  # emitted again when the minutes have come: `forming` is checked below
                inside = {
                    t: b for t, b in minutes.items() if emission.bar.open_time <= t < emission.bar.close_time
                }
                if forming is not None:
                    inside[forming.open_time] = forming
                expected = merge_bars([inside[t] for t in sorted(inside)], INTERVALS[emission.bar.interval])
                assert emission.bar == expected
            elif emission.kind is not BarEventKind.UPDATE:
                newest[emission.bar.interval, emission.bar.open_time] = emission.bar
        if not needs and position < len(history):
            continue
        everything = minutes | ({forming.open_time: forming} if forming else {})
        newest_minute = max(everything)
        for interval in LONGER:
            open_time = interval.floor(newest_minute)
            if interval.end(open_time) > max((b.close_time for b in minutes.values()), default=0):
                newest_bars = [everything[t] for t in sorted(everything) if t >= open_time]
                assert rollup.forming("A", interval.name) == merge_bars(newest_bars, interval)
    closed_until = max((bar.close_time for bar in minutes.values()), default=0)
    for interval in LONGER:
        for open_time in {interval.floor(t) for t in minutes}:
            inside_bars = [minutes[t] for t in sorted(minutes) if open_time <= t < interval.end(open_time)]
            if interval.end(open_time) <= closed_until:
                expected = msgspec.structs.replace(merge_bars(inside_bars, interval), closed=True)
                assert newest[interval.name, open_time] == expected
            else:
                assert (interval.name, open_time) not in newest
