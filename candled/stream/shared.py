"""Coalesce concurrent requests for the same answer, so that a flood of them costs no more than a few."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """An answer that is the same for all clients: computed one at a time, and shared by all that wait for it.

    No request gets an answer whose computation started before it, so none is stale. A request waits for two
    computations at most, the running one and the next, however many requests there are.

    Args:
        make: computes the answer.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._turn = trio.Lock()
        self._started = 0
        """Number of computations started, failed and cancelled ones included."""
        self._made: tuple[int, T] | None = None
        """Number of the newest computation, and its answer; dropped when no request waits."""

    async def get(self) -> T:
        """Return an answer whose computation started after this call."""
        asked = self._started
        async with self._turn:
            if self._made is None or self._made[0] <= asked:
                self._started += 1
                number = self._started
                self._made = number, await self._make()
            answer = self._made[1]
            if not self._turn.statistics().tasks_waiting:
                self._made = None
            return answer
