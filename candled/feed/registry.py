"""The exchanges that candled knows, by the name in the setting ``exchange``; each is imported when it is used."""

from importlib import import_module
from typing import Final, cast

from candled.errors import SettingsError
from candled.feed.adapter import ExchangeAdapter

_MODULES: Final = {
    "binance": "candled.feed.binance.adapter",
    "coinbase": "candled.feed.coinbase.adapter",
}
"""Module of each exchange; its ``ADAPTER`` is the adapter."""

EXCHANGES: Final = tuple(_MODULES)
DEFAULT_EXCHANGE: Final = "binance"


def find_adapter(name: str) -> ExchangeAdapter:
    """Return the adapter of an exchange.

    Raises:
        SettingsError: there is no exchange of that name.
    """
    module = _MODULES.get(name)
    if module is None:
        raise SettingsError(f"Setting exchange must be one of {', '.join(EXCHANGES)}, not {name!r}.")
    return cast("ExchangeAdapter", import_module(module).ADAPTER)
