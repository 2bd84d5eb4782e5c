"""The budget lasts under unending loss, and every bar is complete soon after its close."""

import pytest
from trio.testing import MockClock

from tests.feed.lossy_market import Report, trade


def check(report: Report) -> None:
    assert report.never == []
    assert max(report.delays) < 10
    assert report.waited == 0, "a request found the budget used up"
    assert report.used_max < 3000


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("symbols", "loss", "reads_aggregates"),
    [
        *((3, 0.05, False), (3, 0.05, True), (50, 0.05, True)),
        *(
            pytest.param(*few, marks=pytest.mark.slow)
            for few in ((3, 0.01, False), (50, 0.01, False), (50, 0.05, False))
        ),
    ],
)
async def test_budget_lasts(symbols: int, loss: float, reads_aggregates: bool, autojump_clock: MockClock) -> None:
    """Few and many symbols keep 10 s after the close, on streams of trades and of aggregates."""
    check(await trade(symbols, loss, reads_aggregates=reads_aggregates))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("loss", [0.01, 0.05])
async def test_budget_lasts_for_500_symbols(loss: float, autojump_clock: MockClock) -> None:
    """So do 500 symbols, whose pages of raw trades alone would weigh four times the budget."""
    check(await trade(500, loss))


async def test_small_budget_keeps_its_limit(autojump_clock: MockClock) -> None:
    """With less than the closes need, bars are late or wait, and the budget is never passed."""
    report = await trade(20, 0.05, limit=200)
    assert report.used_max <= 200
    assert max(report.delays) > 10 or report.never
