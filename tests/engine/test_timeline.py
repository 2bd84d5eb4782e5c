"""Where a symbol's minutes stand: forming, held, withheld, or dealt with."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candled.domain.interval import MINUTE
from candled.engine.timeline import MinuteState, Timeline

START = 1_700_006_400_000_000


def at(number: int) -> int:
    return START + number * MINUTE


def begun() -> Timeline:
    timeline = Timeline()
    timeline.begin(START)
    return timeline


def test_nothing_has_ended_before_the_first_trade() -> None:
    """Without a first minute there is nothing to close, hold or wait for."""
    timeline = Timeline()
    assert (timeline.place(START), timeline.next_end, timeline.minutes_left) == (None, None, 0)
    assert not timeline.is_waiting


def test_an_ended_minute_is_held() -> None:
    """A minute that ended without a close is held, and the one under way is not."""
    timeline = begun()
    timeline.end_until(at(2))
    assert [timeline.place(at(n)) for n in range(3)] == [MinuteState.HELD, MinuteState.HELD, None]
    assert (timeline.minutes_left, timeline.next_end) == (2, at(3))


def test_a_close_withholds_what_it_passes_over() -> None:
    """Minutes without a trade before a closed one have no bar yet; the closed one has."""
    timeline = begun()
    timeline.end_until(at(3))
    timeline.close(at(2))
    assert timeline.withheld() == [(at(0), at(1))]
    assert timeline.place(at(1)) is MinuteState.WITHHELD
    assert timeline.place(at(2)) is MinuteState.EVICTED  # unless it is in memory
    assert timeline.minutes_left == 2


def test_held_minutes_settle_in_order() -> None:
    """A settled minute at the frontier moves it on; a withheld one is no longer waited for."""
    timeline = begun()
    timeline.end_until(at(5))
    timeline.settle(at(0))
    assert timeline.frontier == at(1)
    timeline.close(at(3))
    timeline.settle(at(2))
    assert timeline.withheld() == [(at(1), at(1))]
    assert timeline.frontier == at(4)


def test_a_late_trade_takes_its_minute_back() -> None:
    """A withheld minute that has a trade after all splits the run that it was in."""
    timeline = begun()
    timeline.close(at(5))
    timeline.admit(at(2))
    assert timeline.withheld() == [(at(0), at(1)), (at(3), at(4))]
    assert timeline.is_any_withheld_before(at(3))
    assert not timeline.is_withheld(at(2))


def test_it_continues_after_stored_bars() -> None:
    """Minutes between stored bars that are not there are withheld from the start on."""
    timeline = Timeline()
    timeline.resume(at(0), at(10), [(at(3), at(4))])
    assert (timeline.origin, timeline.frontier, timeline.due) == (at(0), at(10), at(10))
    assert timeline.minutes_left == 2


@given(st.integers(0, 100), st.integers(0, 100))
def test_the_clock_never_goes_back(first: int, second: int) -> None:
    """What has ended stays ended."""
    timeline = begun()
    timeline.end_until(at(first))
    timeline.end_until(at(second))
    assert timeline.due == at(max(first, second))


class Minutes(RuleBasedStateMachine):
    """Any order of ends, closes, settlements and late trades, against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline()
        self.withheld: set[int] = set()
        self.frontier = self.due = 0

    @initialize()
    def begin(self) -> None:
        self.timeline.begin(START)

    @rule(number=st.integers(0, 60))
    def end(self, number: int) -> None:
        self.timeline.end_until(at(number))
        self.due = max(self.due, number)

    @rule(ahead=st.integers(0, 5))
    def close(self, ahead: int) -> None:
        number = self.frontier + ahead
        self.timeline.close(at(number))
        self.withheld |= set(range(self.frontier, number))
        self.frontier = number + 1

    @rule(ahead=st.integers(-3, 5))
    def pass_over(self, ahead: int) -> None:
        self.timeline.pass_over_until(at(self.frontier + ahead))
        self.withheld |= set(range(self.frontier, self.frontier + ahead))
        self.frontier += max(0, ahead)

    @rule()
    def settle_next(self) -> None:
        self.timeline.settle(at(self.frontier))
        self.frontier += 1

    @precondition(lambda self: self.withheld)
    @rule(data=st.data())
    def settle_withheld(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.withheld)))
        data.draw(st.sampled_from([self.timeline.settle, self.timeline.admit]))(at(number))
        self.withheld.discard(number)

    @rule(number=st.integers(0, 60))
    def forget(self, number: int) -> None:
        self.timeline.forget_until(at(number))
        self.withheld = {each for each in self.withheld if each > number}

    @invariant()
    def agrees(self) -> None:
        assert self.timeline.frontier in (at(self.frontier), None)
        expected = len(self.withheld) + max(0, self.due - self.frontier)
        assert self.timeline.minutes_left == (expected if self.timeline.frontier is not None else 0)
        if self.timeline.frontier is None:
            return
        for number in range(self.frontier + 8):
            state = self.timeline.place(at(number))
            if number in self.withheld:
                assert state is MinuteState.WITHHELD
            elif number < self.frontier:
                assert state is MinuteState.EVICTED
            else:
                assert state is (MinuteState.HELD if number < self.due else None)


TestMinutes = Minutes.TestCase
