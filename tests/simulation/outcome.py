"""What came of a simulated day."""

import hashlib
from collections import Counter

import attrs


@attrs.define
class Outcome:
    """Counts, and everything that was found wrong. ``log_hash`` is the same for the same run."""

    bars: int = 0
    trades: int = 0
    excused: int = 0
    """Bars that the exchange itself keeps from being proven."""
    fooled: int = 0
    """Bars that a plausible lie made wrong, which no other source contradicted."""
    doubted: int = 0
    """Bars that are not proven, or wrong and not complete, because their trades or klines were lied about."""
    updates: int = 0
    revisions: int = 0
    restarts: int = 0
    gaps: int = 0
    overlaps: int = 0
    """Aggregates that came when a part of them was known."""
    duplicates: int = 0
    """Trades that came again: of a second connection, of a successor beside its predecessor, of a repair."""
    roll_overs: int = 0
    resumes: int = 0
    mishaps: Counter[str] = attrs.Factory(Counter)
    wrong: list[str] = attrs.Factory(list)
    _log: "hashlib._Hash" = attrs.Factory(hashlib.sha256)

    def note(self, entry: object) -> None:
        """Add to the log that the hash is made of."""
        self._log.update(repr(entry).encode())

    @property
    def log_hash(self) -> str:
        """Of every mishap and every bar event, in order."""
        return self._log.hexdigest()

    def summary(self) -> str:
        """One line for people."""
        return (
            f"bars {self.bars} trades {self.trades} excused {self.excused} "
            f"doubted {self.doubted} fooled {self.fooled} updates {self.updates} "
            f"revisions {self.revisions} restarts {self.restarts} gaps {self.gaps} overlaps {self.overlaps} "
            f"duplicates {self.duplicates} roll-overs {self.roll_overs} "
            f"resumes {self.resumes} mishaps {self.mishaps.total()} wrong {len(self.wrong)} "
            f"{self.log_hash[:12]}"
        )
