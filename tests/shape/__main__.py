"""Print the largest figures of each measure: ``make shape``. Exit status 1 if one is beyond its limit."""

import argparse

from tests.shape.measure import EXCEPTIONS, LIMITS, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8, help="figures of each measure")
    rows = parser.parse_args().rows
    figures = sorted(measure(), reverse=True)
    for name, limit in LIMITS.items():
        print(f"{name} (limit {limit})")
        for figure in [each for each in figures if each.measure == name][:rows]:
            _, reason = EXCEPTIONS.get((name, figure.where), (0, ""))
            mark = "TOO MUCH" if figure.value > figure.limit else reason and f"exception: {reason}"
            print(f"  {figure.value:4}  {figure.where}  {mark}".rstrip())
    if any(figure.value > figure.limit for figure in figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
