"""``python -m tests.history --kills 200``: kill -9 of the history, half at random, half at system calls.

Prints a record in Markdown, and writes it where ``--output`` says. Needs strace for the second half.
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import trio

from tests.history.kills import STRACE, Tally, kill_again_and_again, kills_at_calls, kills_at_random
from tests.history.writing_process import SETTINGS


def main() -> int:
    """Exit status 1 if anything was lost, doubled or answered wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.history", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the record")
    options = parser.parse_args()
    at_calls = options.kills // 2 if STRACE else 0
    rng = random.Random(options.seed)
    kills = [*kills_at_random(options.kills - at_calls, rng, 4.0), *kills_at_calls(at_calls)]
    rng.shuffle(kills)
    tally = Tally()
    begun = time.monotonic()
    wrong = ""
    with tempfile.TemporaryDirectory(prefix="candled-kills-") as folder:
        try:
            trio.run(kill_again_and_again, Path(folder) / "data", kills, tally)
        except* AssertionError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            wrong = str(error)
    calls = "\n".join(f"| {call} | {count} |" for call, count in sorted(tally.at_calls.items()))
    record = f"""# kill -9 of the history

{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}, {(time.monotonic() - begun) / 60:.0f} minutes

`python -m tests.history --kills {options.kills} --seed {options.seed}`

{tally.kills} kill -9: {tally.kills - sum(tally.at_calls.values())} at random instants, {sum(tally.at_calls.values())} \
at the nth call of a kind, just before it was carried out. {tally.queries} queries by a reader meanwhile; \
{tally.queries_outlasted} more took longer than the {SETTINGS.grace:.0f} s that replaced files stay here, and were asked again.
Numbers stored and acknowledged: {tally.acknowledged // 60 + 1}, of three symbols each; the process seals, folds, joins and removes files all the time.
Acknowledged bars lost, doubled or answered wrong: {wrong or 0}

| killed at | times |
|---|---|
{calls or "| (strace is not installed) | |"}
"""  # noqa: E501 - lines of the record
    print(record)
    if options.output:
        options.output.write_text(record, "utf-8")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
