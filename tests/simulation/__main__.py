"""``python -m tests.simulation 1-100 [--hours 24]``: simulate the days of these seeds, one line for each."""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.runner import report_seed


def main() -> int:
    """Exit status 1 if any seed went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="like 7 or 1-1000")
    parser.add_argument("--hours", type=float, help="instead of what the seed decides")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    low, _, high = options.seeds.partition("-")
    failed = []
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=50) as pool:
        runs = [pool.submit(report_seed, seed, options.hours) for seed in range(int(low), int(high or low) + 1)]
        for run in as_completed(runs):
            seed, line, wrong = run.result()
            print(f"seed {seed}: {line}", flush=True)
            for what in wrong[:5]:
                print(f"    {what[:1500]}")
            if wrong:
                failed.append(seed)
    print(f"{len(runs)} seeds, {len(failed)} went wrong{': ' + str(sorted(failed)) if failed else ''}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
