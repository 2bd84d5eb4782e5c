"""Who lies: asks the faults what is on, draws what to lie about, and says so to whoever wants to know."""

from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Final

from candled.embedded_exchange.faults import Faults, chance
from candled.embedded_exchange.lies.answers import disordered, oversized, padded, with_wrong_header, wrong_answer
from candled.embedded_exchange.lies.contradictions import (
    contradict_kline,
    contradict_trade,
    with_other_number,
    wrong_kline,
)
from candled.embedded_exchange.lies.fields import FIELD_LIES, FIELDS, ids_of, is_trade, misstated
from candled.embedded_exchange.lies.heartbeats import newest_id_of, wrong_heartbeat
from candled.embedded_exchange.rest_side import Answer

OnLie = Callable[[str, str, int, int], None]
"""Called with the name of the fault, the symbol, and the trade ids, or the open time twice, that it is about."""

_KLINE_LIES: Final = {"rest_wrong_kline": wrong_kline, "rest_contradict_kline": contradict_kline}


class Liar:
    """What becomes of messages, rows and answers while faults of these kinds are on."""

    def __init__(self, faults: Faults) -> None:
        """Lie as ``faults`` ask for."""
        self._faults = faults
        self._answers = count()
        self.on_lie: OnLie = lambda name, symbol, first, last: None
        """For tests, which must know what was said."""

    def of_message(self, connection: int, symbol: str, text: str) -> list[str]:
        """What a connection, by its number, sends for a message of a stream."""
        ids = ids_of(text) if is_trade(text) else None
        if ids is None:
            return [self._of_heartbeat(connection, symbol, text)]
        said = self._of_trade("", symbol, ids, text, connection)
        if self._draws("huge", symbol, ids[0], connection):
            said = padded(said)
        if not self._draws("twin", symbol, ids[0], connection):
            return [said]
        self.on_lie("twin", symbol, *ids)
        return [said, with_other_number(text, "price", self._random("twin", symbol, ids[0], connection))]

    def _of_heartbeat(self, connection: int, symbol: str, text: str) -> str:
        newest = newest_id_of(text)
        if newest is None or not self._draws("wrong_heartbeat", symbol, text, connection):
            return text
        self.on_lie("wrong_heartbeat", symbol, newest, newest)
        return wrong_heartbeat(text, self._random("wrong_heartbeat", symbol, text, connection))

    def of_row(self, symbol: str, text: str) -> str:
        """A row of trades or aggregates as REST states it."""
        ids = ids_of(text)
        return text if ids is None else self._of_trade("rest_", symbol, ids, text)

    def of_kline(self, symbol: str, open_time: int, row: str) -> str:
        """A row of klines as REST states it; ``open_time`` in microseconds."""
        for name, lie in _KLINE_LIES.items():
            if self._draws(name, symbol, open_time):
                self.on_lie(name, symbol, open_time, open_time)
                return lie(row, self._random(name, symbol, open_time))
        return row

    def of_rows(self, rows: Sequence[str]) -> Sequence[str]:
        """The rows of an answer, in the order in which REST states them."""
        number = next(self._answers)
        if not self._draws("rest_wrong_order", number):
            return rows
        return disordered(rows, self._random("rest_wrong_order", number))

    def of_answer(self, answer: Answer) -> Answer:
        """A whole answer of REST."""
        number = next(self._answers)
        if self._draws("rest_wrong_answer", number):
            answer = wrong_answer(self._random("rest_wrong_answer", number))
        answer = self.of_headers(answer)
        return oversized(answer) if self._draws("rest_huge", number) else answer

    def of_headers(self, answer: Answer) -> Answer:
        """An answer whose body is what it is; its headers need not be true."""
        number = next(self._answers)
        if not self._draws("rest_wrong_header", number):
            return answer
        return with_wrong_header(answer, self._random("rest_wrong_header", number))

    def _of_trade(self, prefix: str, symbol: str, ids: tuple[int, int], text: str, *where: int) -> str:
        for field in FIELDS:
            name = f"{prefix}say_{field}"
            value = self._faults.value(name)
            # Without the place: a stream and REST that lie about a field lie about the same trades.
            if value is not None and chance(self._faults.seed, "say", field, symbol, ids[0]) < self._faults.rate(
                name
            ):
                self.on_lie(name, symbol, *ids)
                text = misstated(text, field, value)
        for kind, lie in (*FIELD_LIES.items(), ("contradict", contradict_trade)):
            name = f"{prefix}{kind}"
            if self._draws(name, symbol, ids[0], *where):
                self.on_lie(name, symbol, *ids)
                text = lie(text, self._random(name, symbol, ids[0], *where))
                others = ids_of(text) if kind == "wrong_id" else None
                if others is not None and others[1] - others[0] == ids[1] - ids[0]:  # else they are no ids
                    self.on_lie(name, symbol, *others)
        return text

    def _draws(self, name: str, *key: object) -> bool:
        rate = self._faults.rate(name)
        return rate > 0 and chance(self._faults.seed, name, *key) < rate

    def _random(self, name: str, *key: object) -> Random:
        text = "/".join(map(str, (self._faults.seed, "which", name, *key)))
        return Random(text)  # noqa: S311 (lies, not secrets)
