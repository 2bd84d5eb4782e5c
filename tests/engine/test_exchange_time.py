"""The exchange's time is what two independent sources agree on, and what the local clock makes of it since."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.engine.exchange_time import SLACK, ExchangeTime
from candled.engine.time_sources import SERVER, Disagreement

SECOND = 1_000_000
START = 1_700_006_400 * SECOND
HOUR = 3600


def at(second: float) -> int:
    return START + round(second * SECOND)


def read_clock(time: ExchangeTime, second: float, local: float, *, width: float = 0.01) -> None:
    time.synchronise(at(second), local - width, local)


def observe(time: ExchangeTime, second: float, local: float, symbol: str = "A") -> None:
    time.observe({symbol: at(second)}, local)


def agreed(*, rate: float = 1.0, symbols: str = "A") -> ExchangeTime:
    """Agreed on ``START`` at the local time 0, by the exchange's clock and the symbols."""
    time = ExchangeTime()
    for local in (-0.6, -0.3, 0.0):
        read_clock(time, local * rate, local)
        for symbol in symbols:
            observe(time, local * rate, local, symbol)
    return time


def alone(*, symbols: str = "AB") -> ExchangeTime:
    """The same, where the exchange's clock cannot be read."""
    time = ExchangeTime()
    time.clock_unavailable()
    for local in (-4.0, -3.0, -2.0, -1.0, 0.0):
        for symbol in symbols:
            observe(time, local, local, symbol)
    return time


# -- the first agreement ------------------------------------------------------------------------------------------


def test_one_source_is_no_agreement() -> None:
    """A single message, or a single reading of the clock, says nothing."""
    time = ExchangeTime()
    observe(time, 0, 0.0)
    read_clock(time, 0, 0.1)
    assert not time.known
    assert time.now(1.0) == 0
    assert "no two agree" in time.why_unknown()


def test_clock_and_symbol_agree() -> None:
    """The exchange's clock and one symbol suffice, once the clock's rate is known."""
    time = agreed()
    assert time.known
    assert time.now(1.0) == pytest.approx(at(1), abs=20_000)


def test_two_symbols_agree_without_clock() -> None:
    """Where the clock cannot be read, a second symbol takes its place."""
    time = ExchangeTime()
    time.clock_unavailable()
    observe(time, 0, 0.0, "A")
    assert not time.known
    observe(time, 0.1, 0.1, "B")
    assert time.known


def test_lone_symbol_needs_even_readings() -> None:
    """A single source is believed after several readings that keep pace with the local clock."""
    time = ExchangeTime()
    time.clock_unavailable()
    for local in (0.0, 1.0, 2.0):
        observe(time, local, local)
    assert not time.known
    observe(time, 3, 3.0)
    observe(time, 4, 4.0)
    assert time.known


@pytest.mark.parametrize("said", [32_503_680_000 * SECOND, 10**18, 0, -1, -(10**18)])
def test_impossible_time_is_no_reading(said: int) -> None:
    """The year 3000, 10^18, 0 and negative times in the first second leave the first agreement to others."""
    time = ExchangeTime()
    time.observe({"A": said}, 0.0)
    read_clock(time, 0, 0.0)
    read_clock(time, 0.4, 0.4)
    observe(time, 0.5, 0.5, "B")
    assert time.known
    assert time.now(1.0) <= at(1) + SLACK
    assert [q.reason for q in time.quarantined() if q.source == "A"] == [Disagreement.IMPOSSIBLE]


@pytest.mark.parametrize("error", [16, -16, 3e7, -3e7])
def test_symbols_outvote_clock_at_start(error: float) -> None:
    """A clock that is years off, or seconds, delays the first agreement by seconds and is quarantined."""
    time = ExchangeTime()
    for tenth in range(100):
        local = tenth / 10
        read_clock(time, local + error, local)
        for symbol in "ABC":
            observe(time, local, local, symbol)
    assert time.known
    assert time.now(10.0) == pytest.approx(at(10), abs=SLACK)
    assert not time.is_trusted(SERVER)


def test_lone_clock_is_provisional() -> None:
    """In a silent market the clock alone is believed after a while, until a message contradicts it."""
    time = ExchangeTime()
    for local in range(20):
        read_clock(time, local + 3e7, local)
        assert not time.known
    read_clock(time, 20 + 3e7, 20.0)
    assert time.known
    observe(time, 25, 25.0)
    assert not time.known


# -- agreement continues ------------------------------------------------------------------------------------------


def test_late_message_says_nothing() -> None:
    """Messages may be late: the time neither falls nor stops."""
    time = agreed()
    observe(time, -30, 1.0)
    assert time.now(2.0) == pytest.approx(at(2), abs=20_000)
    assert time.quarantined() == []


def test_one_source_leads_by_slack() -> None:
    """However often one source says more, the time is ahead by the slack at most."""
    time = agreed(symbols="AB")
    for tenth in range(1, 300):
        local = tenth / 10
        observe(time, local + min(0.05 * tenth, 30), local, "A")
        observe(time, local, local, "B")
        assert time.now(local) <= at(local) + SLACK + 20_000


def test_accelerated_rate_is_measured() -> None:
    """The exchange's clock gives the rate of an accelerated exchange."""
    time = agreed(rate=60)
    assert time.rate == pytest.approx(60, rel=0.05)
    assert time.seconds_until(at(60), 0.0) == pytest.approx(1.0, rel=0.1)


def test_clock_that_races_is_contradicted() -> None:
    """A clock that runs at twice the symbols' speed sets no rate."""
    time = ExchangeTime()
    for tenth in range(100):
        local = tenth / 10
        read_clock(time, local * 2, local)
        for symbol in "ABC":
            observe(time, local, local, symbol)
        if time.known:
            assert time.now(local) <= at(local) + SLACK
    assert time.rate == 1.0
    assert time.known


# -- quarantine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [2, 30 * 60, 55 * 60, 3e7])
def test_one_frame_ahead_moves_nothing(error: float) -> None:
    """One message from the future is quarantined; three that agree heal its source."""
    time = agreed()
    observe(time, 1 + error, 1.0)
    assert time.now(1.0) <= at(1) + 20_000
    assert [(q.source, q.reason) for q in time.quarantined()] == [("A", Disagreement.AHEAD)]
    assert time.take_new_quarantines()[0].offset == pytest.approx(error * SECOND, abs=20_000)
    for local in (1.1, 1.2, 1.3):
        observe(time, local, local)
    assert time.quarantined() == []
    assert time.take_new_quarantines() == []


def test_symbol_lies_for_hours() -> None:
    """One symbol an hour ahead stays in quarantine while others are right, counted once."""
    time = agreed(symbols="ABC")
    for second in range(1, 7200):
        observe(time, second + HOUR, second, "A")
        observe(time, second, second, "B")
        if second % 30 == 0:
            read_clock(time, second, second)
        assert time.now(second) <= at(second) + SLACK
    assert time.disagreements.total() == 1


def test_all_symbols_lie_alike() -> None:
    """All symbols together do not outvote a clock that agrees with the time; afterwards they heal."""
    time = agreed(symbols="ABC")
    for second in range(1, 600):
        for symbol in "ABC":
            observe(time, second + HOUR, second, symbol)
        if second % 30 == 0:
            read_clock(time, second, second)
        assert time.now(second) <= at(second) + SLACK
    for second in range(600, 604):
        for symbol in "ABC":
            observe(time, second, second, symbol)
    assert time.quarantined() == []


@pytest.mark.parametrize("error", [16, -16, 3e7, -3e7])
def test_clock_lies_and_heals(error: float) -> None:
    """A wrong reading of the exchange's clock moves nothing while symbols speak."""
    time = agreed(symbols="A")
    for second in range(1, 300):
        observe(time, second, second)
        if second % 10 == 0:
            read_clock(time, second + error, second)
        assert time.now(second) == pytest.approx(at(second), abs=SLACK)
    assert not time.is_trusted(SERVER)
    for second in (300, 301, 302):
        observe(time, second, second)
        read_clock(time, second, second)
    assert time.quarantined() == []


def test_jumping_clock_stays_in_quarantine() -> None:
    """A clock that is right in every second reading does not heal."""
    time = agreed(symbols="A")
    for second in range(1, 100):
        observe(time, second, second)
        read_clock(time, second + (HOUR if second % 2 else 0), second)
    assert not time.is_trusted(SERVER)
    assert time.now(100.0) == pytest.approx(at(100), abs=SLACK)


def test_time_wants_the_clock_read() -> None:
    """While somebody disagrees a reading is asked for at once, then ever less often."""
    time = agreed()
    assert not time.wants_clock(0.5)
    observe(time, HOUR, 1.0)
    asked = [second for second in range(1, 200) if time.wants_clock(float(second))]
    assert asked[0] <= 2
    assert len(asked) < 15


# -- the time moves -----------------------------------------------------------------------------------------------


def test_machine_slept() -> None:
    """A jump that symbol and clock agree on is believed: the local clock stood meanwhile."""
    time = agreed()
    observe(time, HOUR + 1, 1.0)
    assert time.now(1.0) < at(2)
    read_clock(time, HOUR + 1.1, 1.1)
    assert time.now(1.1) == pytest.approx(at(HOUR + 1.1), abs=100_000)
    assert time.rate == 1.0


@pytest.mark.parametrize(("slept", "error"), [(195, HOUR), (20, 30), (2 * HOUR, 26 * HOUR)])
def test_machine_slept_while_all_symbols_lie_alike(slept: float, error: float) -> None:
    """The clock says that it is later, symbols that it is later still: so it is as late as the clock says."""
    time = agreed(symbols="AB")
    for local in range(1, 10):
        read_clock(time, local, local)
        for symbol in "AB":
            observe(time, local + error, local + 0.1, symbol)
    assert time.now(9.0) == pytest.approx(at(9), abs=20_000)
    for local in range(10, 300):
        read_clock(time, local + slept, local)
        for symbol in "AB":
            observe(time, local + error, local + 0.1, symbol)
        assert time.now(local + 0.1) <= at(local + slept + 0.1) + SLACK
    assert time.now(300.0) == pytest.approx(at(300 + slept), abs=20_000)


@pytest.mark.parametrize("answers", [True, False])
def test_symbols_wait_for_an_unread_clock(answers: bool) -> None:
    """They may lie alike: an old reading says nothing, a new one contradicts; without one they are believed."""
    time = agreed(symbols="AB")
    for second in range(1, 200):
        observe(time, second, float(second), "A")
        observe(time, second, float(second), "B")
    for number in range(20):
        local = 200.0 + number / 5
        observe(time, HOUR + local, local, "A")
        observe(time, HOUR + local, local, "B")
        if number == 0:
            assert time.now(local) < at(205)
            assert time.wants_clock(local)
        if answers and number == 10:
            read_clock(time, local, local)
    is_believed = time.now(204.0) > at(HOUR)
    assert is_believed is not answers


def test_two_symbols_move_without_clock() -> None:
    """Without a clock a jump needs two symbols that agree."""
    time = alone(symbols="AB")
    observe(time, HOUR, 1.0, "A")
    assert time.now(4.0) < at(10)
    observe(time, HOUR + 4, 5.0, "B")
    observe(time, HOUR + 4.1, 5.1, "A")
    assert time.now(5.1) == pytest.approx(at(HOUR + 4), abs=SLACK)


def test_clock_set_back() -> None:
    """A step back that clock and symbols agree on is followed."""
    time = agreed(symbols="AB")
    for second in range(1, 60):
        for symbol in "AB":
            observe(time, second - 5, second, symbol)
        if second % 10 == 0:
            read_clock(time, second - 5, second)
    assert time.steps_back == 1
    assert time.now(60.0) == pytest.approx(at(55), abs=SLACK)


def test_time_stands_with_the_clock() -> None:
    """While no symbol speaks and the clock stands, the time stands: a replay is at its end."""
    time = agreed(rate=60)
    read_clock(time, 60, 12.0)
    shown = time.now(12.0)
    read_clock(time, 60, 20.0)
    assert time.now(25.0) <= max(shown, at(60)) + SECOND
    assert time.seconds_until(at(100_000), 25.0) == float("inf")


def test_false_agreement_is_undone() -> None:
    """Two symbols that lied alike without a clock move the time; it comes back when they are right."""
    time = alone(symbols="AB")
    for second in range(1, 20):
        for symbol in "AB":
            observe(time, second + HOUR, second, symbol)
    assert time.now(20.0) > at(HOUR)
    for second in range(20, 60):
        for symbol in "AB":
            observe(time, second, second, symbol)
    assert time.now(60.0) == pytest.approx(at(60), abs=SLACK)


def test_speed_changes() -> None:
    """A clock whose speed changes is followed, at its new rate."""
    time = agreed(symbols="AB")
    true, local = 0.0, 0.0
    for _ in range(200):
        local += 0.1
        true += 6.0
        for symbol in "AB":
            observe(time, true, local, symbol)
        if time.wants_clock(local):
            read_clock(time, true, local)
    assert time.rate == pytest.approx(60, rel=0.1)
    assert time.now(local) == pytest.approx(at(true), abs=60 * SECOND)


@given(
    rate=st.one_of(st.just(1.0), st.floats(1.6, 200.0)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reading", "A", "B", "look"]),
            st.floats(0.01, 40.0),  # seconds since the step before
            st.floats(0.0, 0.9),  # on the way there
            st.floats(0.0, 0.9),  # and back
        ),
        max_size=60,
    ),
    jump=st.tuples(st.integers(0, 60), st.integers(0, 10_000)),
)
def test_truth_is_never_overtaken(
    rate: float, steps: list[tuple[str, float, float, float]], jump: tuple[int, int]
) -> None:
    """With whatever delays and one jump, true readings never make the time later than it is by more than slack."""
    time, local, offset = ExchangeTime(), 1000.0, START
    for number, (what, pause, there, back) in enumerate(steps):
        local += pause
        if number == jump[0]:
            offset += jump[1] * SECOND
        asked, local = local, local + there
        stamp = offset + int(local * rate * SECOND)
        local += back
        if what == "reading":
            time.synchronise(stamp // 1000 * 1000, asked, local)
        elif what != "look":
            time.observe({what: stamp}, local)
        assert time.now(local) <= offset + local * rate * SECOND + 3 * time.slack


def test_standing_clock_agrees_with_nobody() -> None:
    """A recording that waits for its beginning shows one time; its speed is learnt once it runs."""
    time = ExchangeTime()
    for local in (0.0, 0.3, 0.6, 0.9):
        time.synchronise(at(0), local, local)
    time.observe({"A": at(1)}, 0.95)
    assert not time.known
    for local in (1.5, 2.0, 2.5):
        time.synchronise(at(100 * (local - 1)), local, local)
        time.observe({"A": at(100 * (local - 1))}, local)
    assert time.known
    assert 75 < time.rate <= 100
