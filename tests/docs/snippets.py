"""Code blocks of README.md and docs/, for tests that run or check them word for word."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(language: str, document: str = "README.md") -> list[str]:
    """Return the fenced blocks of a document in one language, in order."""
    text = (ROOT / document).read_text("utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return found
