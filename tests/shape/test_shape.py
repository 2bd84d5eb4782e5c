"""The limits on lengths, nesting and state hold; ``make shape`` shows the figures."""

import pytest

from tests.shape.measure import EXCEPTIONS, LIMITS, measure, measure_module


def test_limits_hold() -> None:
    """No function, class or module is beyond its limit."""
    assert [figure for figure in measure() if figure.value > figure.limit] == []


def test_exceptions_are_needed() -> None:
    """What is back within the ordinary limit, or gone, has no exception any more."""
    beyond = {(figure.measure, figure.where) for figure in measure() if figure.value > LIMITS[figure.measure]}

    assert set(EXCEPTIONS) - beyond == set()


def figures(text: str) -> dict[tuple[str, str], int]:
    return {(each.measure, each.where.removeprefix("m:")): each.value for each in measure_module("m", text)}


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("def f(): pass\n", 0),
        ("def f():\n  if a:\n    pass\n  elif b:\n    pass\n  else:\n    pass\n", 1),
        ("def f():\n  if a:\n    pass\n  else:\n    if b:\n      pass\n    c\n", 2),
        ("async def f():\n  async with a:\n    try:\n      while b:\n        pass\n    finally:\n      pass\n", 3),
        ("def f():\n  for a in b:\n    def g():\n      if c:\n        pass\n", 1),
    ],
)
def test_depth_counts_blocks_in_blocks(text: str, depth: int) -> None:
    """``elif`` counts once, and a function within a function for itself."""
    assert figures(text)["depth", "f"] == depth


def test_length_counts_from_signature_to_end() -> None:
    """Signature and docstring are lines of the function; decorators are not."""
    assert figures('@d\ndef f(\n  a,\n):\n  """Doc."""\n  return a\n')["function lines", "f"] == 5


def test_fields_set_by_the_constructor_do_not_change() -> None:
    """A field counts once that a method assigns, adds to or deletes; what others hold does not count."""
    text = (
        "class C:\n"
        "  def __init__(self):\n    self.a = self.b = self.c = self.d = 0\n"
        "  def f(self, x):\n    self.b += 1\n    del self.c\n    self.b = x.y = 1\n    print(self.d)\n"
    )

    assert figures(text)["changing fields", "C"] == 2
