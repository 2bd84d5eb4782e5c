"""kill -9 at every step of an upload and of a restore, on an S3 server of its own; prints a record in Markdown.

usage: python -m benchmarks.object_kills [--kills N] [--seed N] [--output FILE]

Each round writes one history of its own: a process is killed at each step once, and a reader compares every bar
after each. A difference ends the run with an error. What is compared: ``tests/history/objects/kills.py``.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import trio

from benchmarks.header import header
from tests.acceptance.s3_server import KEYS, s3_server
from tests.history.objects.kills import STEPS, Round


async def run(server: str, folder: Path, kills: int, rng: random.Random) -> list[Round]:
    """Run rounds until this number of kills is reached."""
    rounds: list[Round] = []
    left = kills
    while left > 0:
        number = len(rounds) + 1
        (folder / f"{number}").mkdir()
        rounds.append(Round(server, folder / f"{number}", f"kills-{number}", rng))
        await rounds[-1].run(STEPS[:left])
        left -= len(STEPS)
    return rounds


def record(rounds: list[Round], seconds: float) -> str:
    """What was done, in Markdown."""
    killed = sum((each.killed for each in rounds), Counter[str]())
    lines = [
        "# kill -9 at every step of an upload",
        "",
        *("```", *header("object_kills"), "```"),
        "",
        f"{sum(killed.values())} kills in {len(rounds)} histories,",
        f"{sum(each.lives for each in rounds)} processes,",
        f"{sum(each.bars for each in rounds)} bars, {seconds:.0f} s. After each kill every object was whole,",
        "and a reader found every bar up to the newest one, in no older revision than before. In the end each was",
        "there once, in its newest revision, in all fields: none lost, none doubled, none wrong.",
        "",
        *("| killed | times |", "|---|---|"),
        *(f"| {step} | {times} |" for step, times in killed.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--output", type=Path, help="also write the record there")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, KEYS):
        folder = Path(name)
        (folder / "s3").mkdir()
        with s3_server(folder / "s3") as server:
            rounds = trio.run(run, server, folder, arguments.kills, random.Random(arguments.seed))
    text = record(rounds, time.monotonic() - started)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
