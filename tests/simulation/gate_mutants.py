"""Faults planted in the gates of the exchange's side: each leaves out one check of what comes in."""

from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import attrs

from candled.domain.limits import trade_fits
from candled.feed.adapter import TradePage
from candled.feed.binance import rest_rows, wire
from candled.feed.binance.rest import BinanceRest
from candled.feed.repair.symbol_repair import SymbolRepair

Planted = Callable[[], Any]
"""Makes a context manager in which the fault is there."""


def _passes(owner: Any, name: str, verdict: object) -> Planted:
    def unchecked(*args: object) -> object:
        return verdict

    return lambda: mock.patch.object(owner, name, unchecked)


def _takes_any_number(owner: Any) -> Planted:
    """Ids and times are still checked: a wrong one leads to millions of minutes rather than to a wrong bar."""

    def fits(first_id: int, last_id: int, price: int, quantity: int, time: int) -> bool:
        return trade_fits(first_id, last_id, 0, 0, time)

    return lambda: mock.patch.object(owner, "trade_fits", fits)


def _refusals_are_not_counted() -> Any:
    async def forget(self: SymbolRepair, row: object) -> None:
        """Ask again, for ever."""

    return mock.patch.object(SymbolRepair, "_note_refused", forget)


def _a_bad_row_ends_its_page() -> Any:
    trades = BinanceRest.trades

    async def until_bad(self: BinanceRest, symbol: str, first_id: int, limit: int = rest_rows.PAGE) -> TradePage:
        page = await trades(self, symbol, first_id, limit)
        bad = min((row.first_id for row in page.refused if row.has_ids), default=None)
        if bad is None:
            return page
        return attrs.evolve(page, trades=[row for row in page.trades if row.last_id < bad], refused=())

    return mock.patch.object(BinanceRest, "trades", until_bad)


@attrs.frozen
class GateMutant:
    """A missing check, and a scenario in which it matters."""

    planted: Planted
    lasting_lies: str
    """What the exchange says to the end of the day."""


GATE_MUTANTS: Final = {
    "limits of prices and quantities are not checked on the streams": GateMutant(
        _takes_any_number(wire), "say_price=10000000000.00000000/0.05"
    ),
    "limits of prices and quantities are not checked over REST": GateMutant(
        _takes_any_number(rest_rows), "rest_say_price=10000000000.00000000/0.1"
    ),
    "doubled keys are taken on the streams": GateMutant(_passes(wire, "has_doubled_keys", False), "wrong_key=0.1"),
    "doubled keys are taken over REST": GateMutant(
        _passes(rest_rows, "has_doubled_keys", False), "rest_wrong_key=0.2"
    ),
    "refused rows are asked for without end": GateMutant(_refusals_are_not_counted, "rest_wrong_value=0.1"),
    "a bad row ends its page": GateMutant(_a_bad_row_ends_its_page, "rest_wrong_value=0.1"),
}
"""By what goes wrong."""
