"""Runs the day of a seed."""

import logging
import time
from collections.abc import Iterable

import attrs
import structlog

from tests.simulation.day import simulate
from tests.simulation.deterministic import run_deterministically
from tests.simulation.gate_mutants import GATE_MUTANTS
from tests.simulation.mutants import Planted
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import EARLY_WAYS, Scenario


def run_seed(seed: int, hours: float | None = None, form: str = "binance") -> Outcome:
    """Simulate one seed, quietly."""
    return run_day(Scenario.drawn(seed, hours=hours, form=form))


def run_day(day: Scenario) -> Outcome:
    """Simulate one day, quietly."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return run_deterministically(simulate, day, seed=day.seed)


def report_seed(seed: int, hours: float | None, form: str = "binance") -> tuple[int, str, list[str]]:
    """The seed, a line about its day, and what went wrong."""
    begun = time.process_time()
    try:
        outcome = run_seed(seed, hours, form)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the seed is reported
        return seed, f"{type(error).__name__}", [repr(error), *(repr(e) for e in getattr(error, "exceptions", ()))]
    return seed, f"{time.process_time() - begun:5.1f} s  {outcome.summary()}", outcome.wrong


def hunt(
    planted: Planted, seeds: Iterable[int], hours: float = 1.0, form: str = "binance"
) -> tuple[int, str] | None:
    """The first seed that notices a planted fault, and what it noticed; None if none does."""
    return _first_to_notice(planted, [Scenario.drawn(seed, hours=hours, form=form) for seed in seeds])


def hunt_at_the_gates(mutant: str, seeds: Iterable[int], hours: float = 1.0) -> tuple[int, str] | None:
    """The same for a missing check of a gate, in its scenario."""
    return _first_to_notice(GATE_MUTANTS[mutant].planted, lying_days(mutant, seeds, hours))


def lying_days(mutant: str, seeds: Iterable[int], hours: float = 1.0) -> list[Scenario]:
    """Days in which a check of a gate matters, for these seeds."""
    planted = GATE_MUTANTS[mutant]
    return [
        attrs.evolve(
            Scenario.drawn(seed, hours=hours),
            ways=EARLY_WAYS,
            lie_pause=None,
            lasting_lies=planted.lasting_lies,
            absence_hours=0.0,
            patience_s=600.0,
        )
        for seed in seeds
    ]


def _first_to_notice(planted: Planted, days: Iterable[Scenario]) -> tuple[int, str] | None:
    for day in days:
        with planted():
            try:
                wrong = run_day(day).wrong
            except Exception as error:  # noqa: BLE001 - a fault may show as a crash: that is noticed too
                return day.seed, repr(error)
        if wrong:
            return day.seed, wrong[0]
    return None
