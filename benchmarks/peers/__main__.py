"""What other programs spend on a part of candled's work, on the same data, in the same run.

usage: python -m benchmarks.peers [streams] [bars] [history] [--quick] [--trades N] [--alone N] [--rounds N]
       [--python PATH] [--output FILE]

*streams*: frames from a loopback websocket without TLS, in bursts and alone. candled is the whole way of a trade
to an encoded update, as ``benchmarks.ingest``; the others receive and decode it, up to a callback that counts.
*bars*: decoded trades to minutes. *history*: queries over a year of stored minutes. Programs take turns, each as a
process that counts its own CPU time after a warm-up. One that did not see every trade has no figure.
``make peers`` makes the environment of the others. ``--output`` adds to FILE, and draws streams in an SVG beside
it. A quiet machine takes some ten minutes.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.header import header, publish
from benchmarks.peers.figures import NAME_WIDTH, Figures, table
from benchmarks.peers.parts import bars, history, streams
from benchmarks.peers.plot import chart
from benchmarks.peers.programs import ROOT, Environments

PARTS: Final = ("streams", "bars", "history")
PACKAGES: Final = (
    *("cryptofeed", "nautilus_trader", "picows", "polars", "python-binance"),
    *("unicorn-binance-websocket-api", "unicorn-fy", "websockets"),
)
RATE: Final = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--trades", type=int, default=50_000, help="of bursts and of bars")
    parser.add_argument("--alone", type=int, default=5_000, help=f"frames that come alone, {RATE:,} a second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-peers/bin/python", help="that of the others")
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {' '.join(unknown)}; choose from {' '.join(PARTS)}")
    if options.quick:
        options.trades, options.alone, options.rounds = 10_000, 1_500, 1
    lines = header("peers")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})  # every program inherits it
    environments = Environments(options.python.absolute())
    versions = ", ".join(f"{name} {version}" for name, version in environments.versions(PACKAGES).items())
    rounds = f"{options.rounds} rounds"
    lines += [f"peers:    {versions}", f"data:     made-up trades of three symbols, seed 1, {rounds}"]
    if "streams" in parts:
        burst, _ = streams(environments, options.trades, 0, options.rounds, cores[-1])
        alone, waits = streams(environments, options.alone, RATE, options.rounds, cores[-1])
        lines += table(f"{options.trades:,} frames in bursts, CPU us each", burst, "frames/CPU s")
        lines += table(f"{options.alone:,} frames alone, {RATE:,} a second, CPU us each", alone, "frames/CPU s")
        lines.append("waits a frame, about 1 or more if frames did not pile up:")
        lines += [f"{name:{NAME_WIDTH}}{wait:>14.2f}" for name, wait in waits.items()]
        if options.output is not None:
            drawn = chart({"in bursts": burst, f"alone, {RATE:,} a second": alone})
            options.output.with_suffix(".svg").write_text(drawn)
    if "bars" in parts:
        built, exact = bars(environments, options.trades, options.rounds)
        lines += table(f"{options.trades:,} decoded trades to minutes, CPU us each", built, "trades/CPU s")
        lines += beside_engine(built)
        lines += [f"{name}: {same} as candled's in open, high, low, close, volume" for name, same in exact.items()]
    if "history" in parts:
        for query, readers in history(environments, options.rounds).items():
            lines += table(f"a year of minutes of 3 symbols, {query}, CPU ms", readers)
    publish("\n".join([*lines, "", ""]), options.output)


def beside_engine(built: Mapping[str, Figures]) -> list[str]:
    """The other builder's time divided by that of candled's engine, which does more."""
    other = built["nautilus_trader"]
    engines = {name: row for name, row in built.items() if "engine" in name and not row.refused}
    if other.refused:
        return []
    return [f"nautilus_trader / {name}: {other.median / row.median:.2f}" for name, row in engines.items()]


if __name__ == "__main__":
    main()
