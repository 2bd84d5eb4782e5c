"""The index of situations names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_named_tests_exist() -> None:
    """A test that is renamed or removed takes its place in the index along."""
    named = NAMED.findall(INDEX)
    assert len(named) > 100
    known = {path: functions(path) for path, _ in named}
    assert [f"{path}::{name}" for path, name in named if name not in known[path]] == []


def test_rows_have_tests() -> None:
    """A situation without a test says that it is not held."""
    rows = [line for line in INDEX.splitlines() if line.startswith("| ") and not line.startswith("| situation")]
    assert [row for row in rows if not NAMED.search(row) and "not held yet" not in row] == []


def functions(path: str) -> set[str]:
    """Names of the tests in a file."""
    file = ROOT / path
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
