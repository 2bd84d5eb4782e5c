"""What goes wrong is said in sentences: with a capital and a full stop, however it reaches the user."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import candled
import candled.cli.parts
import candled.feed.errors
import candled.history.errors
import candled.stream.sockets  # the modules that have errors of their own for users
from candled.errors import UserError, sentence

ROOT = Path(candled.__file__).parent
FRAGMENTS = {"SourceUnavailableError", "UnreadableAnswerError", "SourceRefusedError", "KeyWantedError"}
"""Errors whose texts stand in a sentence of another error: what one base URL answered."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no daemon answers", "No daemon answers."),
        ("No daemon answers.", "No daemon answers."),
        ("Did you mean this?", "Did you mean this?"),
        ("/data is a file", "/data is a file."),
        ("page_size is negative", "page_size is negative."),
        ("http://a answers nothing", "http://a answers nothing."),
        ("no", "No."),
        ("", "."),
    ],
)
def test_sentence(text: str, shown: str) -> None:
    """A word gets a capital, a name in code stays as it is written, and one full stop ends it."""
    assert sentence(text) == shown
    assert sentence(shown) == shown


def user_errors() -> set[str]:
    """Names of the classes whose texts users see."""
    found, left = set(), [UserError]
    while left:
        kind = left.pop()
        found.add(kind.__name__)
        left += kind.__subclasses__()
    return found - FRAGMENTS


def literal(node: ast.expr) -> tuple[str, str] | None:
    """The beginning and the end of a text in the source; None if it is not written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value, node.value
    if isinstance(node, ast.JoinedStr):
        first, last = node.values[0], node.values[-1]
        begin = first.value if isinstance(first, ast.Constant) else "{}"
        end = last.value if isinstance(last, ast.Constant) else "{}"
        return str(begin), str(end)
    return None


def raised() -> Iterator[tuple[str, str, str]]:
    """Place, beginning and end of each text that an error for users, or a status of gRPC, is made with."""
    names = user_errors()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            text = None
            if node.func.id in names:
                text = literal(node.args[0])
            elif node.func.id == "GRPCError":
                text = literal(node.args[1])
            if text is not None:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", *text


def test_errors_are_written_as_sentences() -> None:
    """Each begins with a capital, or with a value that is filled in, and ends with a mark."""
    texts = list(raised())
    assert len(texts) > 50
    assert [place for place, begin, _ in texts if not (begin[:1].isupper() or begin.startswith("{}"))] == []
    assert [place for place, _, end in texts if not end.endswith((".", "?", "{}"))] == []
