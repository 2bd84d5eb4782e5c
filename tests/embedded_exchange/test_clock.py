"""The exchange's clock."""

import pytest

from candled.embedded_exchange.clock import ExchangeClock, exchange_time_of, parse_epoch


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_clock_runs_at_the_set_speed() -> None:
    monotonic = Monotonic()
    clock = ExchangeClock(1_000_000, monotonic, speed=60)
    monotonic.now += 2
    assert clock.now() == 1_000_000 + 120_000_000
    assert clock.seconds_until(clock.now() + 60_000_000) == pytest.approx(1)


def test_clock_stands_still_until_started() -> None:
    monotonic = Monotonic()
    clock = ExchangeClock(5, monotonic, running=False)
    monotonic.now += 10
    assert clock.now() == 5
    assert clock.seconds_until(6) == float("inf")
    clock.start()
    monotonic.now += 1
    clock.start()
    assert clock.now() == 1_000_005


def test_clock_runs_at_real_speed_after_a_replay() -> None:
    monotonic = Monotonic()
    clock = ExchangeClock(0, monotonic, speed=1000, fast_until=60_000_000)
    monotonic.now += 0.06 + 5
    assert clock.now() == pytest.approx(65_000_000, abs=2)
    assert clock.seconds_until(clock.now() + 1_000_000) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", 1769860800_000000),
        ("2026-01-31T12:00:00.123456+00:00", 1769860800_123456),
        ("2026-01-31T13:00:00+01:00", 1769860800_000000),
        ("2026-01-31", 1769817600_000000),
    ],
)
def test_an_epoch_is_read_to_the_microsecond(text: str, instant: int) -> None:
    assert parse_epoch(text) == instant


def test_malformed_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="write it like 2026-01-31T12:00:00Z"):
        parse_epoch("soon")


def test_exchange_time_equals_wall_time_at_the_epoch() -> None:
    assert exchange_time_of(1_000, epoch=1_000, speed=60) == 1_000
    assert exchange_time_of(1_010, epoch=1_000, speed=60) == 1_600
