"""The wire forms that the embedded exchange speaks, by name; each is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from candled.embedded_exchange.form import Form

_FORMS: Final = {
    "binance": ("candled.embedded_exchange.binance_form", "BinanceForm"),
    "coinbase": ("candled.embedded_exchange.coinbase.form", "CoinbaseForm"),
}
"""Module and class of each form."""

DEFAULT_FORM: Final = "binance"


def find_form(name: str) -> "Callable[..., Form]":
    """Return what makes the form of this name for an ``Exchange`` that has market, clock, limits and faults."""
    module, form = _FORMS[name]
    return cast("Callable[..., Form]", getattr(import_module(module), form))
