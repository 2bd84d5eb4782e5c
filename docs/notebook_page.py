"""A notebook with its outputs as a page of the documentation site."""

import json
import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_SHOWN: Final = ("text/html", "image/png", "text/plain")
"""Forms of an output, the one to show first."""


def notebook_page(name: str) -> str:
    """Return a notebook of the repository as Markdown, cells and outputs in their order.

    Raises:
        ValueError: an output has no form that a page can show.
    """
    notebook: Any = json.loads((ROOT / name).read_text())
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts += [f"```python\n{source}\n```", *(_output(output) for output in cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def _output(output: Any) -> str:
    if output["output_type"] == "stream":
        return _as_text("".join(output["text"]))
    data = output["data"]
    form = next((form for form in _SHOWN if form in data), None)
    if form is None:
        raise ValueError(f"Cannot show an output of {', '.join(data)}.")
    content = "".join(data[form])
    match form:
        case "image/png":
            return f'<img alt="Plot" src="data:image/png;base64,{content.strip()}">'
        case "text/html":
            return _without_style(content)
        case _:
            return _as_text(content)


def _as_text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _without_style(html: str) -> str:
    """Leave a table to the look of the site; a blank line would end the HTML."""
    before, _, rest = html.partition("<style")
    table = before + rest.partition("</style>")[2] if rest else html
    plain = re.sub(r"<(table|tr)\b[^>]*>", r"<\1>", table)
    return "\n".join(line for line in plain.splitlines() if line.strip())
