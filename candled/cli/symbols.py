"""Symbols on the command line, in any case, by space or by comma; and those that have stored bars."""

import re
from collections.abc import Iterable
from typing import Final

import click

STORED_SYMBOLS: Final = "SELECT DISTINCT symbol FROM bars WHERE interval = '1m' ORDER BY symbol"
"""Query for the symbols that have stored bars."""

_SEPARATORS: Final = re.compile(r"[,\s]+")


def split_symbols(words: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols named in arguments such as ``btcusdt,ethusdt``: upper case, each once, in order.

    Raises:
        click.BadParameter: there are words, as from an empty variable of the shell, and no symbol in them.
    """
    words = tuple(words)
    names = (name.upper() for word in words for name in _SEPARATORS.split(word) if name)
    symbols = tuple(dict.fromkeys(names))
    if words and not symbols:
        raise click.BadParameter(f"{' '.join(words)!r} names no symbol: write BTCUSDT, or several by comma")
    return symbols
