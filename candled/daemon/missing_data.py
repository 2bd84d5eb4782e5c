"""What the engine lacks, as the repair asks for it."""

from collections.abc import Callable

from candled.engine.engine import Engine


class EngineMissingData:
    """``MissingData`` of an engine."""

    def __init__(self, engine: Engine, is_listed: Callable[[str], bool]) -> None:
        """``is_listed``: whether the exchange has a symbol; what it has not cannot be fetched."""
        self._engine = engine
        self._is_listed = is_listed

    def symbols(self) -> list[str]:
        """See ``MissingData``."""
        return sorted(symbol for symbol in self._engine.symbols_to_repair if self._is_listed(symbol))

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.continuity.missing if engine else []

    def unsettled(self, symbol: str) -> list[tuple[int, int]]:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.unsettled() if engine else []

    def wanted_start(self, symbol: str) -> int | None:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.wanted_start if engine else None

    def forming_from(self, symbol: str) -> int | None:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.forming_from if engine else None

    def countable(self, symbol: str) -> list[tuple[int, int]]:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.countable() if engine else []

    def has_candidate(self, symbol: str) -> bool:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine is not None and engine.ids.ready is not None

    def time_before(self, symbol: str, trade_id: int) -> int | None:
        """See ``MissingData``."""
        engine = self._engine.symbols.get(symbol)
        return engine.time_before(trade_id) if engine else None

    def is_live(self, symbol: str) -> bool:
        """See ``MissingData``."""
        return symbol in self._engine.live
