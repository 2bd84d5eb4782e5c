"""Fetches over REST what the stream did not bring: plans what is worth its weight, and carries the plan out."""

import random
from collections import deque
from typing import Final

import structlog
import trio

from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.feed.repair.context import RepairContext, RepairCounts
from candled.feed.repair.plan import BUDGET_SECONDS, Budget, RepairWays, Step, early_weight, make_plan
from candled.feed.repair.symbol_repair import SymbolRepair
from candled.feed.transport.rate_limit import RollingLimit

PLAN_SECONDS: Final = 0.02
"""Between two plans at least, and as much again for each ``PLAN_SYMBOLS``: a plan looks at all that lack data."""
PLAN_SYMBOLS: Final = 10
"""Symbols looked at before other tasks get a turn."""
SOURCE: Final = "source"
"""What is put off when the exchange does not answer: the whole symbol."""


class Repairer:
    """Repairs until the engine lacks nothing: one task plans, ``requests_at_once`` tasks carry the plan out."""

    def __init__(self, context: RepairContext, rng: random.Random, ways: RepairWays | None = None) -> None:
        """Make it; ``run`` does the work.

        Args:
            context: where to ask, what is missing, where results go.
            rng: jitter between attempts.
            ways: bounds of long gaps, instead of the usual ones.
        """
        self._context = context
        self._rng = rng
        self._ways = ways or RepairWays()
        self._wake = trio.Event()
        self._repairs: dict[str, SymbolRepair] = {}
        self._busy: set[str] = set()
        self._steps: deque[Step] = deque()
        """Planned and not begun yet, the most worthwhile first."""
        self._planned = trio.Event()
        self._early = RollingLimit(context.source.weight_limit, BUDGET_SECONDS)
        """Weight used for minutes that were still forming."""
        self._trouble: dict[str, str] = {}
        """Why the last step of a symbol's repair filled nothing."""
        self._log = structlog.get_logger(__name__)

    @property
    def counts(self) -> RepairCounts:
        """What the repair did since the start."""
        return self._context.counts

    def wake(self) -> None:
        """Plan again: the engine may lack something new."""
        self._wake.set()

    def trouble(self, symbol: str) -> str | None:
        """Return what this symbol's repair waits for; None if nothing keeps it."""
        return self._trouble.get(symbol)

    async def run(self) -> None:
        """Repair until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._context.capabilities.requests_at_once):
                nursery.start_soon(self._work)
            while True:
                self._wake = trio.Event()
                number, wait = await self._plan(trio.current_time())
                await trio.sleep(PLAN_SECONDS * (1 + number / PLAN_SYMBOLS))
                with trio.move_on_after(wait):
                    await self._wake.wait()

    async def _plan(self, now: float) -> tuple[int, float]:
        """Choose the next steps; return how many symbols lack something, and seconds until the next plan."""
        context, source = self._context, self._context.source
        lacking = context.missing_data.symbols()
        for symbol in self._repairs.keys() - set(lacking) - self._busy:
            del self._repairs[symbol]
            self._trouble.pop(symbol, None)
        budget = Budget(
            limit=source.weight_limit,
            used=source.weight_used,
            used_early=self._early.used(now),
            symbols=len(context.instruments),
        )
        early = early_weight(budget, context.capabilities) > 0
        needs = []
        for number, symbol in enumerate(lacking, start=1):
            if symbol not in self._repairs:
                self._repairs[symbol] = SymbolRepair(context, symbol, self._ways, self._rng)
            repair = self._repairs[symbol]
            if symbol in self._busy or repair.attempts.waits(SOURCE, now):
                continue
            if (need := repair.need(now, early=early)) is not None:
                needs.append(need)
            if number % PLAN_SYMBOLS == 0:
                await trio.lowlevel.checkpoint()
        needs = [need for need in needs if need.symbol not in self._busy]
        plan = make_plan(needs, budget, context.capabilities, self._ways, now)
        self._steps = deque(plan.steps)
        if self._steps:
            self._planned.set()
            self._planned = trio.Event()
        wait = min([plan.wait, *(repair.next_look(now) for repair in self._repairs.values())])
        return len(lacking), wait

    async def _work(self) -> None:
        """Carry out one step after another."""
        while True:
            while not self._steps:
                await self._planned.wait()
            step = self._steps.popleft()
            repair = self._repairs[step.symbol]
            self._busy.add(step.symbol)
            try:
                await self._carry_out(step, repair)
            finally:
                self._busy.discard(step.symbol)
                self._wake.set()

    async def _carry_out(self, step: Step, repair: SymbolRepair) -> None:
        symbol, trouble = step.symbol, "the exchange does not show it yet"
        if step.is_early:
            self._early.take(step.weight, trio.current_time())
        try:
            progress = await repair.take(step, trio.current_time())
        except (SourceUnavailableError, SourceRefusedError) as error:
            progress, trouble = False, str(error)
            self.counts.failures += 1
            repair.attempts.put_off(SOURCE, trio.current_time())
            if isinstance(error, SourceRefusedError):
                self._log.error("repair refused by the exchange", symbol=symbol, reason=trouble)
            else:
                self._log.warning("repair waits for the exchange", symbol=symbol, reason=trouble)
        else:
            repair.attempts.put_back(SOURCE)
            trouble = repair.trouble or trouble
        if progress:
            self._trouble.pop(symbol, None)
        else:
            self._trouble[symbol] = trouble
