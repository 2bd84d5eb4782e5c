"""From candled to a data frame and a plot, as in a notebook.

    make demo                                    # in another terminal, for a minute or two
    python examples/candles_to_frame.py candled-demo-data 127.0.0.1:50051

Needs polars and matplotlib (``requirements/examples.txt``) beside candled; with pandas write ``.df()``.
"""

import sys

import matplotlib as mpl
import trio

mpl.use("Agg")  # in a notebook: leave this line out

import matplotlib.pyplot as plt
import polars as pl

from candled.client import open_trio_client
from candled.history import connect

DATA_DIR, ADDRESS = sys.argv[1:3]

# %% The history: files, read with SQL while the daemon writes them. Prices are exact decimals.
bars = (
    connect(DATA_DIR)
    .sql("SELECT * FROM bars WHERE symbol = 'BTCUSDT' AND interval = '1m' ORDER BY open_time")
    .pl()
)
print(bars.select("open_time", "open", "high", "low", "close", "volume", "complete").tail(5))


# %% Live: the next few messages of the stream.
async def next_messages(count: int) -> pl.DataFrame:
    """As rows: what happened, when, and the closing price so far."""
    rows = []
    async with (
        open_trio_client(ADDRESS) as client,
        client.stream_bars(symbols=["BTCUSDT"]) as messages,
    ):
        async for message in messages:
            rows.append({"kind": message.kind.value, "time": message.exchange_time, "close": message.bar.close})
            if len(rows) == count:
                return pl.DataFrame(rows)
    raise RuntimeError("the stream ended before enough messages came")


print(trio.run(next_messages, 5))

# %% A plot: floats are fine for drawing.
figure, (price, volume) = plt.subplots(2, sharex=True, height_ratios=[3, 1], layout="constrained")
up = bars["close"] >= bars["open"]
colors = ["#30a46c" if one else "#e5484d" for one in up]
width = 0.8 / 1440  # of a day
price.bar(
    bars["open_time"],
    (bars["close"] - bars["open"]).abs().cast(float).clip(lower_bound=0.01),
    width,
    bars.select(pl.min_horizontal("open", "close")).to_series().cast(float),
    color=colors,
)
price.vlines(bars["open_time"], bars["low"].cast(float), bars["high"].cast(float), colors, linewidth=1)
volume.bar(bars["open_time"], bars["volume"].cast(float), width, color=colors)
price.set_title("BTCUSDT 1m")
figure.savefig("candles.png", dpi=120)
print(f"candles.png: {len(bars)} bars")
