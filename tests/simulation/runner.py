"""Runs the day of a seed."""

import logging
import time
from collections.abc import Iterable

import structlog

from tests.simulation.day import simulate
from tests.simulation.deterministic import run_deterministically
from tests.simulation.mutants import MUTANTS
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import Scenario


def run_seed(seed: int, hours: float | None = None) -> Outcome:
    """Simulate one seed, quietly."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return run_deterministically(simulate, Scenario.drawn(seed, hours=hours), seed=seed)


def report_seed(seed: int, hours: float | None) -> tuple[int, str, list[str]]:
    """The seed, a line about its day, and what went wrong."""
    begun = time.process_time()
    try:
        outcome = run_seed(seed, hours)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the seed is to be told
        return seed, f"{type(error).__name__}", [repr(error), *(repr(e) for e in getattr(error, "exceptions", ()))]
    return seed, f"{time.process_time() - begun:5.1f} s  {outcome.summary()}", outcome.wrong


def hunt(mutant: str, seeds: Iterable[int], hours: float = 1.0) -> tuple[int, str] | None:
    """The first seed that notices a planted fault, and what it noticed; None if none does."""
    for seed in seeds:
        with MUTANTS[mutant]():
            try:
                wrong = run_seed(seed, hours).wrong
            except Exception as error:  # noqa: BLE001 - a fault may show as a crash: that is noticed too
                return seed, repr(error)
        if wrong:
            return seed, wrong[0]
    return None
