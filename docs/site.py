"""Gather the pages of the documentation site: ``python -m docs.site`` writes them to dist/site-source.

The tree there mirrors the repository, so that links between pages hold as they are. Pages are those that the
navigation in docs/mkdocs.yml names, from their files or made by ``docs.reference``. A link to anything else in the
repository, which the site does not show, becomes the path as text. ``make docs`` then builds the site.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from docs.reference import GENERATED, PROTO, ROOT

CONFIGURATION: Final = ROOT / "docs" / "mkdocs.yml"
SOURCE: Final = ROOT / "dist" / "site-source"
ASSETS: Final = ("docs/images", "benchmarks/results/fanout.svg", f"protos/{PROTO}")
"""Files and folders that pages show or offer."""

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
_CODE: Final = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


class BrokenLinkError(Exception):
    """A page links to what is not there."""


class _Configuration(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags would call."""


_Configuration.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def navigation() -> list[str]:
    """Return every page that the navigation names, in its order."""
    content: Any = yaml.load(CONFIGURATION.read_text(), _Configuration)
    return list(_leaves(content["nav"]))


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for part in node.values():
            yield from _leaves(part)
    else:
        for part in node:
            yield from _leaves(part)


def pages() -> dict[str, str]:
    """Return the text of every page, by its path in the site.

    Raises:
        BrokenLinkError: a link leads nowhere.
    """
    names = navigation()
    texts = {name: GENERATED[name]() if name in GENERATED else (ROOT / name).read_text() for name in names}
    return {name: _with_links(name, text, names) for name, text in texts.items()}


def _with_links(page: str, text: str, names: list[str]) -> str:
    """Keep links that the site can follow, and turn the others into text."""
    code = [match.span() for match in _CODE.finditer(text)]

    def replace(match: re.Match[str]) -> str:
        image, shown, path, _anchor = match.groups()
        if any(begin <= match.start() < end for begin, end in code) or not path:
            return match[0]
        target = os.path.normpath(PurePosixPath(page).parent / path)
        if target.endswith(".ipynb") and (made := f"{target.removesuffix('.ipynb')}.md") in names:
            return match[0].replace(path, os.path.relpath(made, PurePosixPath(page).parent))
        if target in names or any(target == asset or target.startswith(f"{asset}/") for asset in ASSETS):
            return match[0]
        if image or not (ROOT / target).exists():
            raise BrokenLinkError(f"{page} links to {path}, which does not exist.")
        return f"{shown} (`{target}`)" if shown.strip("`") != target else f"`{target}`"

    return _LINK.sub(replace, text)


def write(target: Path) -> None:
    """Write all pages and what they show to a folder, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    for name, text in pages().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for asset in ASSETS:
        path = target / asset
        path.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / asset).is_dir() else shutil.copy)(ROOT / asset, path)


if __name__ == "__main__":
    write(SOURCE)
