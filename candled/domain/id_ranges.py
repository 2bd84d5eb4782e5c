"""A set of trade ids as sorted, disjoint, inclusive ranges. Trade ids are contiguous, so it stays tiny."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class IdRanges:
    """A set of integers, cheap when they come in long runs. Ranges that touch are joined."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """Return the number of ranges, not of ids."""
        return len(self._firsts)

    def __repr__(self) -> str:
        return f"IdRanges({', '.join(f'{a}..{b}' for a, b in self)})"

    @property
    def last(self) -> int | None:
        """The highest id in the set."""
        return self._lasts[-1] if self._lasts else None

    def add(self, first: int, last: int) -> None:
        """Add every id from ``first`` to ``last``, both included."""
        lasts = self._lasts
        if lasts and lasts[-1] == first - 1:  # the next trade: nearly every call
            lasts[-1] = last
            return
        firsts = self._firsts
        left = bisect_left(lasts, first - 1)
        right = bisect_right(firsts, last + 1)
        if left < right:
            first = min(first, firsts[left])
            last = max(last, lasts[right - 1])
        firsts[left:right] = [first]
        lasts[left:right] = [last]

    def covers(self, first: int, last: int) -> bool:
        """Return whether every id from ``first`` to ``last`` is in the set."""
        index = bisect_left(self._lasts, last)
        return index < len(self._firsts) and self._firsts[index] <= first

    def overlaps(self, first: int, last: int) -> bool:
        """Return whether any id from ``first`` to ``last`` is in the set."""
        index = bisect_left(self._lasts, first)
        return index < len(self._firsts) and self._firsts[index] <= last

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the ranges between ``first`` and ``last``, both included, that are not in the set."""
        holes = []
        index = bisect_left(self._lasts, first)
        while first <= last:
            if index == len(self._firsts) or self._firsts[index] > last:
                holes.append((first, last))
                break
            if self._firsts[index] > first:
                holes.append((first, self._firsts[index] - 1))
            first = self._lasts[index] + 1
            index += 1
        return holes

    def discard(self, first: int, last: int) -> None:
        """Remove every id from ``first`` to ``last``, both included."""
        left = bisect_left(self._lasts, first)
        right = bisect_right(self._firsts, last)
        if left >= right:
            return
        kept = [(self._firsts[left], first - 1), (last + 1, self._lasts[right - 1])]
        kept = [(a, b) for a, b in kept if a <= b]
        self._firsts[left:right] = [a for a, _ in kept]
        self._lasts[left:right] = [b for _, b in kept]
