"""Answers that many clients share."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from candled.stream.shared import SharedAnswer


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Maker:
    """Makes answers that take a second; each says when it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0

    async def make(self) -> float:
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1
        begun = trio.current_time()
        try:
            await trio.sleep(1)
        finally:
            self.at_once -= 1
        return begun


async def test_flood_costs_two(autojump_clock: MockClock) -> None:
    """A thousand requests during one answer cost one more, and no answer was begun before its request."""
    maker = Maker()
    shared = SharedAnswer(maker.make)
    answers: list[float] = []

    async def ask() -> None:
        asked = trio.current_time()
        answer = await shared.get()
        assert answer >= asked
        answers.append(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.5)
        for _ in range(1_000):
            nursery.start_soon(ask)
    assert (len(answers), len(set(answers)), maker.begun) == (1_001, 2, 2)


async def test_client_that_leaves_hands_over(autojump_clock: MockClock) -> None:
    """Whoever makes the answer and goes away is followed by the next one, and nobody gets an old answer."""
    maker = Maker()
    shared = SharedAnswer(maker.make)
    leaving = trio.CancelScope()
    answers: list[float] = []

    async def leave() -> None:
        with leaving:
            await shared.get()

    async def ask() -> None:
        answers.append(await shared.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.sleep(0.5)
        leaving.cancel()
        moment = trio.current_time()
    assert answers == [moment]


async def test_failure_reaches_one_client(autojump_clock: MockClock) -> None:
    """An answer that fails fails for one client; the next one makes another."""
    outcomes: list[int | Exception] = [ValueError("once"), 7]

    async def make() -> int:
        await trio.sleep(1)
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    shared = SharedAnswer(make)
    with pytest.raises(ValueError, match="once"):
        await shared.get()
    assert await shared.get() == 7
