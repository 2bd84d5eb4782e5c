"""Bars as a list that converts to a table of Arrow, pandas or Polars."""

from typing import TYPE_CHECKING, Any, Final

import attrs

from candled.client.model import Bar

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_PRICES: Final = ("open", "high", "low", "close")
_VOLUMES: Final = ("volume", "taker_buy_volume")
_DECIMALS: Final = 8
_QUOTE_VOLUMES: Final = ("quote_volume", "taker_buy_quote_volume")


class Bars(list[Bar]):
    """A list of bars.

    Example:
        ```python
        bars = client.get_bars("BTCUSDT", "1h", limit=24)
        print(len(bars), [bar.close for bar in bars])
        ```
    """

    def to_arrow(self) -> "pa.Table":
        """Return a ``pyarrow.Table`` with a column for each field of ``Bar``, decimals exact, times in UTC.

        Raises:
            ImportError: pyarrow is not installed.

        Example:
            ```python
            table = client.get_bars("BTCUSDT", limit=60).to_arrow()
            print(table.schema)
            ```
        """
        schema = arrow_schema(max([_decimals(bar) for bar in self], default=_DECIMALS))
        pa: Any = _import("pyarrow", "pyarrow")
        columns = [pa.array([getattr(bar, field.name) for bar in self], field.type) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)

    def to_pandas(self, *, exact: bool = True) -> "pd.DataFrame":
        """Return a ``pandas.DataFrame``.

        Args:
            exact: numbers are Arrow's exact decimals; False: floats, which are faster and rounded.

        Raises:
            ImportError: pandas is not installed.

        Example:
            ```python
            frame = client.get_bars("BTCUSDT", limit=60).to_pandas(exact=False).set_index("open_time")
            print(frame["close"].rolling(20).mean())
            ```
        """
        pd: Any = _import("pandas", "pandas")
        if exact:
            return self.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
        frame = self.to_arrow().to_pandas()
        return frame.astype(dict.fromkeys(_PRICES + _VOLUMES + _QUOTE_VOLUMES, float))

    def to_polars(self) -> "pl.DataFrame":
        """Return a ``polars.DataFrame``, decimals exact.

        Raises:
            ImportError: Polars is not installed.

        Example:
            ```python
            frame = client.get_bars("BTCUSDT", limit=60).to_polars()
            print(frame.select("open_time", "close"))
            ```
        """
        pl: Any = _import("polars", "polars")
        return pl.from_arrow(self.to_arrow())


def _decimals(bar: Bar) -> int:
    """Return the decimals of its quote volumes: eight, or sixteen where the exchange does not round them."""
    exponent = bar.quote_volume.as_tuple().exponent
    return max(_DECIMALS, -exponent) if isinstance(exponent, int) else _DECIMALS


def arrow_schema(quote_decimals: int = _DECIMALS) -> "pa.Schema":
    """Return the ``pyarrow.Schema`` of a table of bars: a column for each field of ``Bar``, in order.

    Args:
        quote_decimals: decimals of the quote volumes.

    Raises:
        ImportError: pyarrow is not installed.
    """
    pa: Any = _import("pyarrow", "pyarrow")
    return pa.schema([(field.name, _kind(pa, field.name, quote_decimals)) for field in attrs.fields(Bar)])


def _kind(pa: Any, name: str, quote_decimals: int) -> Any:
    if name in _PRICES:
        return pa.decimal128(18, 8)
    if name in _VOLUMES:
        return pa.decimal128(28, 8)
    if name in _QUOTE_VOLUMES:
        return pa.decimal128(38, quote_decimals)
    if name.endswith("_time"):
        return pa.timestamp("us", tz="UTC")
    if name in ("closed", "complete"):
        return pa.bool_()
    return pa.string() if name in ("symbol", "interval") else pa.int64()


def _import(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} is not installed: pip install '{package}'") from error
