"""Take each check of a gate away, one at a time: the fast tests of its boundary must notice.

usage: python -m tests.removed_checks [MODULE ...] [--list] [--jobs N] [--output FILE]

A check is a condition under which a gate refuses: that of an ``if`` whose block begins with ``return``, ``raise``,
``continue`` or a call that notes a refusal; and each part of an ``and`` or ``or`` in one, or in a returned value.
Without it, that refusal never happens. Everything runs in copies of the tree. Exit status 1 if one goes unnoticed.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[1]
_FEED: Final = ("tests/domain", "tests/feed", "tests/cases", "tests/test_values_that_cannot_be.py")
_BINANCE: Final = (
    "tests/feed/test_rest_rows.py",
    "tests/feed/test_wire.py",
    "tests/feed/test_refused_frames.py",
    *_FEED,
)
_COINBASE: Final = ("tests/feed/coinbase", *_FEED)
_TIMES: Final = (
    "tests/engine",
    "tests/test_time_lies.py",
    "tests/test_id_resets.py",
    "tests/cases",
    "tests/backfill",
)
_WEB: Final = (
    "tests/web/test_http.py",
    "tests/web/test_requests.py",
    "tests/web/test_connections.py",
    "tests/web/test_tokens.py",
    "tests/cases",
)
_SETTINGS: Final = ("tests/config", "tests/cli/test_command_line.py", "tests/daemon")
GATES: Final = {
    "candled/domain/limits.py": _FEED,
    "candled/domain/numbers.py": _FEED,
    "candled/domain/exactness.py": (*_BINANCE, "tests/engine", "tests/backfill"),
    "candled/feed/gate.py": _BINANCE,
    "candled/feed/headers.py": _FEED,
    "candled/feed/rest_source.py": ("tests/feed/test_rest_answers.py", *_FEED),
    "candled/feed/binance/headers.py": _FEED,
    "candled/feed/binance/rest_rows.py": _BINANCE,
    "candled/feed/binance/wire.py": _BINANCE,
    "candled/feed/coinbase/rest_rows.py": _COINBASE,
    "candled/feed/coinbase/trades.py": _COINBASE,
    "candled/feed/coinbase/wire.py": _COINBASE,
    "candled/engine/id_watch.py": _TIMES,
    "candled/engine/time_order.py": _TIMES,
    "candled/engine/trade_gate.py": _TIMES,
    "candled/backfill/archive_checks.py": ("tests/backfill", "tests/cases"),
    "candled/backfill/binance_archive.py": ("tests/backfill", "tests/cases"),
    "candled/stream/grpc/requests.py": ("tests/stream",),
    "candled/stream/resume.py": ("tests/stream",),
    "candled/stream/web/requests.py": _WEB,
    "candled/stream/web/guard.py": _WEB,
    "candled/config/settings.py": _SETTINGS,
    "candled/config/sources.py": _SETTINGS,
    "candled/config/shards.py": _SETTINGS,
}
"""By module of a boundary: the tests that hold its gate, those that are likely to notice first."""
_COPIED: Final = (
    "candled",
    "tests",
    "benchmarks",
    "protos",
    "docs",
    "ops",
    "examples",
    "packaging",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "requirements",
)
_SECONDS_MAX: Final = 600


@attrs.frozen
class Check:
    """One condition of a gate."""

    module: str
    line: int
    begin: int
    """Its place in the module's text, bytes."""
    end: int
    without: str
    """What stands there when it is taken away."""
    text: str


def checks_of(module: str, text: str) -> Iterator[Check]:
    """Yield the checks of a module, in order."""
    lines = [0]
    for line in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def check(part: ast.expr, without: str) -> Check:
        assert part.end_lineno is not None
        assert part.end_col_offset is not None
        begin = lines[part.lineno - 1] + part.col_offset
        end = lines[part.end_lineno - 1] + part.end_col_offset
        return Check(module, part.lineno, begin, end, without, " ".join(ast.unparse(part).split()))

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and _refuses(node.body[0]):
            for part in _parts(node.test, ast.Or):
                yield check(part, "False")
        elif isinstance(node, ast.If) and node.orelse and _refuses(node.orelse[0]):
            for part in _parts(node.test, ast.And):
                yield check(part, "True")
        elif isinstance(node, ast.Return | ast.Assign) and isinstance(node.value, ast.BoolOp | ast.IfExp):
            value = node.value.test if isinstance(node.value, ast.IfExp) else node.value
            if isinstance(value, ast.BoolOp) and all(map(_is_condition, value.values)):
                for part in value.values:
                    yield check(part, "True" if isinstance(value.op, ast.And) else "False")


def _parts(test: ast.expr, operation: type[ast.boolop]) -> list[ast.expr]:
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, operation) else [test]


def _refuses(statement: ast.stmt) -> bool:
    """Whether a block that begins so refuses what it was given."""
    if isinstance(statement, ast.Raise | ast.Continue):
        return True
    called = ast.unparse(statement)
    return isinstance(statement, ast.Return) or "refus" in called or "claim" in called


def _is_condition(value: ast.expr) -> bool:
    """Whether this is true or false, and no value with another one in its place."""
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.Not)
    return isinstance(value, ast.Compare | ast.Call | ast.Name | ast.BoolOp)


def noticed_by(check: Check, copy: Path) -> str:
    """Return the test that fails without a check, in a copy of the tree; empty if all pass."""
    path = copy / check.module
    original = path.read_bytes()
    path.write_bytes(original[: check.begin] + check.without.encode() + original[check.end :])
    try:
        return failing(GATES[check.module], copy)
    finally:
        path.write_bytes(original)


def failing(tests: Sequence[str], copy: Path) -> str:
    """Return the first test that fails in a copy of the tree; empty if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", "60"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ran = subprocess.run(
            [*command, f"--basetemp={copy / 'tmp'}", *tests],
            cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS_MAX,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "the tests do not end"
    if ran.returncode == 0:
        return ""
    failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split(" - ")[0].partition(" ")[2] if failed else "the tests do not begin"


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need into a folder."""
    for each in _COPIED:
        if (ROOT / each).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".terraform", "node_modules")
            shutil.copytree(ROOT / each, folder / each, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / each, folder / each)
    return folder


def take_away(checks: Sequence[Check], jobs: int) -> list[Check]:
    """Take checks away, one at a time in each of some copies; return those that no test missed.

    Raises:
        SystemExit: a test fails while every check is there.
    """
    with tempfile.TemporaryDirectory() as name:
        copies: Queue[Path] = Queue()
        for job in range(jobs):
            copies.put(copy_tree(Path(name) / f"{job}"))

        for tests in dict.fromkeys(GATES[check.module] for check in checks):
            if test := failing(tests, Path(name) / "0"):
                raise SystemExit(f"{test} fails with every check in its place")

        def look(check: Check) -> str:
            copy = copies.get()
            try:
                return noticed_by(check, copy)
            finally:
                copies.put(copy)

        unnoticed = []
        with ThreadPoolExecutor(jobs) as pool:
            for number, (check, test) in enumerate(zip(checks, pool.map(look, checks), strict=True), 1):
                place = f"{check.module}:{check.line}: {check.text}"
                print(f"{number}/{len(checks)} {place}: {test or 'UNNOTICED'}", flush=True)
                if not test:
                    unnoticed.append(check)
    return unnoticed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="instead of all")
    parser.add_argument("--list", action="store_true", help="only list the checks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, help="also write the record there")
    options = parser.parse_args()
    modules = options.modules or list(GATES)
    checks = [check for module in modules for check in checks_of(module, (ROOT / module).read_text())]
    if options.list:
        print(
            *(f"{check.module}:{check.line}: {check.text}" for check in checks), f"{len(checks)} checks", sep="\n"
        )
        return 0
    unnoticed = take_away(checks, options.jobs)
    lines = [
        "# Checks taken away",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, `python -m tests.removed_checks`: {len(checks)} checks, one at a time,",
        f"of {len(modules)} modules; {len(unnoticed)} went unnoticed.",
        *(f"- `{check.module}`: `{check.text}`" for check in unnoticed),
    ]
    print(*lines, sep="\n")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")
    return bool(unnoticed)


if __name__ == "__main__":
    sys.exit(main())
