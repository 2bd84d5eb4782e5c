"""Measure the shape of the code: lengths of functions and modules, depth of nesting, fields that change."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "candled"
GENERATED: Final = PACKAGE / "api"

LIMITS: Final = {"function lines": 60, "depth": 4, "changing fields": 10, "module lines": 500}
"""By measure. ``function lines`` count signature and docstring; ``depth``, blocks within blocks of one function;
``changing fields``, those that a class assigns after it was made."""

EXCEPTIONS: Final = {
    ("changing fields", "candled/engine/minute.py:Minute"): (13, "the sums of a bar: each trade changes most"),
    ("changing fields", "candled/embedded_exchange/klines.py:KlineSum"): (11, "the sums of a kline"),
    ("changing fields", "candled/engine/exchange_time.py:ExchangeTime"): (18, "one line and its rate"),
    ("module lines", "candled/engine/exchange_time.py"): (770, "the agreement on time, with its one class"),
    ("module lines", "candled/engine/minutes.py"): (600, "the builder of 1-minute bars, with its one class"),
}
"""What may be beyond a limit: up to which number, and why."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS: Final = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
)
_CONSTRUCTORS: Final = {"__init__", "__attrs_post_init__"}


@attrs.frozen(order=True)
class Figure:
    """One measured number."""

    value: int
    measure: str
    where: str
    """Path, and the name within it."""

    @property
    def limit(self) -> int:
        """Its own limit, if it is an exception, else that of its measure."""
        return EXCEPTIONS.get((self.measure, self.where), (LIMITS[self.measure], ""))[0]


def measure() -> list[Figure]:
    """Return every figure of the package, the generated part left out."""
    figures: list[Figure] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.is_relative_to(GENERATED):
            figures += measure_module(str(path.relative_to(ROOT)), path.read_text())
    return figures


def measure_module(name: str, text: str) -> Iterator[Figure]:
    """Yield the figures of one module."""
    yield Figure(text.count("\n"), "module lines", name)
    yield from _measure_parts(ast.parse(text), f"{name}:")


def _measure_parts(node: ast.AST, where: str) -> Iterator[Figure]:
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, _Function):
            inner = f"{where}{child.name}"
            yield Figure((child.end_lineno or 0) - child.lineno + 1, "function lines", inner)
            yield Figure(_depth(child), "depth", inner)
        elif isinstance(child, ast.ClassDef):
            inner = f"{where}{child.name}"
            yield Figure(len(_changing_fields(child)), "changing fields", inner)
        yield from _measure_parts(child, inner if inner == where else f"{inner}.")


def _depth(node: ast.AST, depth: int = 0) -> int:
    """Return how deep blocks lie in each other below a node; ``elif`` is as deep as its ``if``."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function | ast.ClassDef | ast.Lambda):
            continue
        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        deepest = max(deepest, _depth(child, depth + (isinstance(child, _BLOCKS) and not is_elif)))
    return deepest


def _changing_fields(cls: ast.ClassDef) -> set[str]:
    methods = [part for part in cls.body if isinstance(part, _Function) and part.name not in _CONSTRUCTORS]
    return {
        node.attr
        for method in methods
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
