"""The three comparisons: streams, bars of decoded trades, and queries over stored minutes."""

import json
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from benchmarks.canned_stream import messages
from benchmarks.history import make_year
from benchmarks.peers.figures import Figures, gathered
from benchmarks.peers.history_queries import QUERIES
from benchmarks.peers.programs import Environments, RefusedError, open_feeder


@attrs.frozen
class Client:
    """A program that reads a stream."""

    module: str
    form: str
    """Of the frames: trade or aggTrade."""
    arguments: tuple[str, ...] = ()


WHOLE: Final = {"trade": "candled, whole way", "aggTrade": "candled, whole way, aggTrade"}
CLIENTS: Final = {
    WHOLE["trade"]: Client("candled_client", "trade"),
    "python-binance": Client("python_binance_client", "trade"),
    "unicorn-binance-websocket-api": Client("unicorn_client", "trade", ("dict", "websockets")),
    "unicorn-binance-websocket-api, picows": Client("unicorn_client", "trade", ("dict", "picows")),
    WHOLE["aggTrade"]: Client("candled_client", "aggTrade"),
    "cryptofeed, aggTrade": Client("cryptofeed_client", "aggTrade"),
    "unicorn-... with unicorn-fy, aggTrade": Client("unicorn_client", "aggTrade", ("UnicornFy", "websockets")),
}
BUILDERS: Final = {
    "candled, sums of minutes alone": ("candled_bars", "sums"),
    "candled's engine, batches of 80": ("candled_bars", "80"),
    "candled's engine, each trade alone": ("candled_bars", "1"),
    "nautilus_trader": ("nautilus_bars",),
}
READERS: Final = {
    "candled": ("candled_history", "candled"),
    "DuckDB's SQL over the Parquet files": ("candled_history", "duckdb"),
    "Polars over the Parquet files": ("polars_history",),
}


def attempt(work: Callable[[], float]) -> float | str:
    """What it took, or why it is refused."""
    try:
        return work()
    except RefusedError as error:
        return str(error)


def streams(
    environments: Environments, trades: int, rate: float, rounds: int, core: int
) -> tuple[dict[str, Figures], dict[str, float]]:
    """CPU microseconds a frame of each client, on the same frames, and how often it waited for each.

    Args:
        environments: where they run.
        trades: frames that count.
        rate: frames a second, each alone; 0: as fast as they are taken.
        rounds: turns of each.
        core: that of the server.
    """
    warm = min(2_000, trades // 4)
    count = trades + warm
    ids = sum(json.loads(message)["data"]["t"] for message in messages(count, 1))

    waited: dict[str, list[float]] = {}

    def take(name: str, client: Client, url: str) -> float:
        found = environments.run(client.module, url, count, warm, *client.arguments)
        if found["seen"] != count or (client.module != "candled_client" and found["ids"] != ids):
            raise RefusedError(f"saw {found['seen']} of {count} trades, ids add up to {found['ids']}, not {ids}")
        waited.setdefault(name, []).append(found["waits"] / trades)
        return float(found["cpu"]) / trades * 1e6

    with ExitStack() as opened:
        urls = {form: opened.enter_context(open_feeder(count, rate, warm, form, core)) for form in WHOLE}
        taken = []
        for _ in range(rounds):
            turn = {}
            for name, client in CLIENTS.items():
                turn[name] = attempt(partial(take, name, client, urls[client.form]))
            taken.append(turn)
    figures = gathered(taken, {name: WHOLE[client.form] for name, client in CLIENTS.items()})
    return figures, {name: statistics.median(each) for name, each in waited.items()}


def bars(environments: Environments, trades: int, rounds: int) -> tuple[dict[str, Figures], dict[str, str]]:
    """CPU microseconds a trade of each builder, and how many of its bars are exact."""
    names = list(BUILDERS)
    taken, exact = [], dict[str, str]()
    for _ in range(rounds):
        turn: dict[str, float | str] = {}
        expected: dict[str, Any] = {}
        for name, (module, *arguments) in BUILDERS.items():
            try:
                found = environments.run(module, trades, *arguments)
            except RefusedError as error:
                turn[name] = str(error)
                continue
            expected = expected or found["bars"]
            same = sum(found["bars"].get(key) == row for key, row in expected.items())
            exact[name] = f"{same} of {len(expected)} bars"
            missing = len(expected) - len(expected.keys() & found["bars"].keys())
            turn[name] = f"{missing} bars missing" if missing else float(found["cpu"]) / trades * 1e6
        taken.append(turn)
    return gathered(taken, dict.fromkeys(names, names[0])), exact


def history(environments: Environments, rounds: int) -> dict[str, dict[str, Figures]]:
    """CPU milliseconds of each reader by query, over a year of three symbols."""
    names = list(READERS)
    taken: dict[str, list[dict[str, float | str]]] = {query: [] for query in QUERIES}
    with tempfile.TemporaryDirectory(prefix="candled-peers-") as folder:
        path = Path(folder) / "year"
        trio.run(make_year, path)
        for _ in range(rounds):
            turns: dict[str, dict[str, float | str]] = {query: {} for query in QUERIES}
            expected: Any = None
            for name, (module, *arguments) in READERS.items():
                try:
                    found = environments.run(module, path, *arguments)
                except RefusedError as error:
                    for turn in turns.values():
                        turn[name] = str(error)
                    continue
                expected = expected or found
                for query, turn in turns.items():
                    same = found[query]["rows"] == expected[query]["rows"]
                    turn[name] = float(found[query]["cpu"]) * 1e3 if same else "another result"
            for query, turn in turns.items():
                taken[query].append(turn)
    return {query: gathered(turns, dict.fromkeys(names, names[0])) for query, turns in taken.items()}
