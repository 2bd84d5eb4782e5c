"""``python -m tests.simulation 1-100 [--hours 24] [--form coinbase]``: simulate days, one line for each seed."""

import argparse
import os
import sys
from functools import partial
from multiprocessing import Pool

from tests.simulation.runner import report_seed
from tests.simulation.scenario import FORMS


def main() -> int:
    """Exit status 1 if any seed went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", help="like 7 or 1-1000")
    parser.add_argument("--hours", type=float, help="instead of what the seed decides")
    parser.add_argument("--form", choices=FORMS, default=FORMS[0], help="whose API the exchange speaks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    low, _, high = options.seeds.partition("-")
    failed = []
    seeds = range(int(low), int(high or low) + 1)
    # Not an executor: with max_tasks_per_child one of 3.11 stands still once its only worker is replaced.
    with Pool(options.jobs, maxtasksperchild=50) as pool:
        for seed, line, wrong in pool.imap_unordered(
            partial(report_seed, hours=options.hours, form=options.form), seeds
        ):
            print(f"seed {seed}: {line}", flush=True)
            for what in wrong[:5]:
                print(f"    {what[:1500]}")
            if wrong:
                failed.append(seed)
    print(f"{len(seeds)} seeds, {len(failed)} went wrong{': ' + str(sorted(failed)) if failed else ''}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
