"""The exchange's time is told by its messages and its clock, and never runs ahead of it."""

from hypothesis import given
from hypothesis import strategies as st

from candled.engine.exchange_time import ExchangeTime

SECOND = 1_000_000
START = 1_700_006_400 * SECOND


def read_clock(time: ExchangeTime, *, rate: float, at: list[float]) -> None:
    for local in at:
        time.synchronise(START + round(local * rate * SECOND), local, local)


def test_messages_set_the_time_and_the_local_clock_carries_it_on() -> None:
    time = ExchangeTime()
    assert not time.known
    time.observe(START, 10.0)
    assert time.now(10.5) == START + SECOND // 2
    time.observe(START - 5 * SECOND, 11.0)  # an old message says nothing new
    assert time.now(11.0) == START + SECOND


def test_the_rate_of_a_fast_exchange_is_measured_by_its_own_clock() -> None:
    time = ExchangeTime()
    read_clock(time, rate=60, at=[0, 2, 4, 6])
    assert 59.99 < time.rate < 60
    assert START + 419.9 * SECOND < time.now(7.0) < START + 420 * SECOND
    assert 0.99 < time.seconds_until(START + 480 * SECOND, 7.0) < 1.01


def test_a_fast_rate_is_not_believed_before_there_are_a_few_readings() -> None:
    time = ExchangeTime()
    read_clock(time, rate=60, at=[0, 2, 4])
    assert time.rate == 1.0


def test_an_uneven_network_does_not_make_a_real_clock_run_fast() -> None:
    time = ExchangeTime()
    time.synchronise(START, 0.0, 2.0)  # the answer was two seconds on its way
    for local in (3.5, 5.0, 6.5, 36.5):
        time.synchronise(START + round(local * SECOND), local, local)
    assert time.rate == 1.0


def test_a_slow_answer_does_not_make_a_fast_clock_run_faster_still() -> None:
    time = ExchangeTime()
    time.synchronise(START, 0.0, 3.0)
    for local in (4.5, 6.0, 7.5, 37.5):
        time.synchronise(START + round(local * 60 * SECOND), local, local)
    assert time.rate < 60


def test_one_jump_of_the_clock_is_not_taken_for_speed() -> None:
    time = ExchangeTime()
    read_clock(time, rate=1, at=[0, 2, 4, 6])
    time.synchronise(START + 3600 * SECOND, 36.0, 36.0)  # this machine slept
    assert time.rate == 1.0
    assert time.now(36.0) == START + 3600 * SECOND


def test_a_clock_that_stands_is_noticed_with_the_next_reading() -> None:
    time = ExchangeTime()
    read_clock(time, rate=60, at=[0, 2, 4, 6])
    time.synchronise(START + 360 * SECOND, 8.0, 8.0)
    assert time.rate == 0.0
    assert time.seconds_until(START + 3600 * SECOND, 8.0) == float("inf")


def test_a_message_shows_that_a_clock_that_stood_runs_again() -> None:
    time = ExchangeTime()
    for local in (0.0, 2.0, 4.0):
        time.synchronise(START, local, local)
    assert time.now(10.0) == START
    time.observe(START + SECOND, 10.0)
    assert time.now(11.0) == START + 2 * SECOND


def test_it_never_goes_back() -> None:
    time = ExchangeTime()
    time.observe(START + 10 * SECOND, 0.0)
    assert time.now(0.0) == START + 10 * SECOND
    time.synchronise(START, 0.0, 0.0)
    assert time.now(0.0) == START + 10 * SECOND


@given(
    rate=st.one_of(st.just(1.0), st.floats(1.0, 200.0)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reading", "message", "look"]),
            st.floats(0.01, 40.0),  # seconds since the step before
            st.floats(0.0, 5.0),  # on the way there
            st.floats(0.0, 5.0),  # and back
        ),
        max_size=60,
    ),
    jump=st.tuples(st.integers(0, 60), st.integers(0, 10_000)),
)
def test_it_is_never_later_than_the_exchange_whatever_the_delays_and_one_jump(
    rate: float, steps: list[tuple[str, float, float, float]], jump: tuple[int, int]
) -> None:
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
        elif what == "message":
            time.observe(stamp, local)
        assert time.now(local) <= offset + local * rate * SECOND
