"""The exchange's time is told by its messages and its clock, and never runs ahead of it."""

from candled.engine.exchange_time import ExchangeTime

SECOND = 1_000_000
START = 1_700_006_400 * SECOND


def test_messages_set_the_time_and_the_local_clock_carries_it_on() -> None:
    time = ExchangeTime()
    assert not time.known
    time.observe(START, 10.0)
    assert time.now(10.5) == START + SECOND // 2
    time.observe(START - 5 * SECOND, 11.0)  # an old message says nothing new
    assert time.now(11.0) == START + SECOND


def test_the_rate_of_a_fast_exchange_is_measured_by_its_own_clock() -> None:
    time = ExchangeTime()
    time.synchronise(START, 0.0)
    time.synchronise(START + 120 * SECOND, 2.0)
    assert time.rate == 60
    assert time.now(3.0) == START + 180 * SECOND
    assert time.seconds_until(START + 240 * SECOND, 3.0) == 1.0


def test_an_uneven_network_does_not_make_the_clock_run_fast() -> None:
    time = ExchangeTime()
    time.synchronise(START, 2.0)  # the answer was two seconds on its way
    time.synchronise(START + 30 * SECOND, 30.0)
    assert time.rate == 1.0


def test_one_late_reading_does_not_make_a_fast_clock_run_faster_still() -> None:
    time = ExchangeTime()
    time.synchronise(START, 3.0)  # three seconds late at sixty times the speed
    time.synchronise(START + 270 * SECOND, 4.5)
    time.synchronise(START + 2_070 * SECOND, 34.5)
    assert time.rate == 60


def test_it_never_goes_back() -> None:
    time = ExchangeTime()
    time.observe(START + 10 * SECOND, 0.0)
    assert time.now(0.0) == START + 10 * SECOND
    time.synchronise(START, 0.0)
    assert time.now(0.0) == START + 10 * SECOND
