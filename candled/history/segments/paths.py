"""Paths of the files of a data directory, and lists of the live ones."""

import os
import urllib.parse
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from candled.history.directory import EMPTY, RECENT, sealed_folder
from candled.history.segments.names import (
    Recent,
    Segment,
    live_recents,
    live_segments,
    parse_recent,
    parse_segment,
)

_SYMBOL_FOLDER: Final = "symbol="


def list_directory(root: Path, symbols: Collection[str] | None = None) -> dict[str, list[Path]]:
    """List the live files: ``sealed``, ``recent``, and ``newest``, the last sealed one of each symbol.

    Args:
        root: The data directory.
        symbols: Sealed files of these symbols only; None: all.
    """
    listing: dict[str, list[Path]] = {"sealed": [], "newest": []}
    listing["recent"] = [recent_path(root, recent) for recent in live_recents(find_recents(root))]
    for symbol in find_symbols(root) if symbols is None else symbols:
        folder = symbol_folder(root, symbol)
        live = [folder / segment.name for segment in live_segments(find_symbol_segments(root, symbol))]
        listing["sealed"] += live
        listing["newest"] += live[-1:]
    return listing


def find_recents(root: Path) -> Iterator[Recent]:
    """Yield recent files by name, including superseded ones."""
    for name in _names(root / RECENT):
        recent = parse_recent(name)
        if recent is not None:
            yield recent


def find_segments(root: Path) -> Iterator[Segment]:
    """Yield sealed files by name, including superseded ones."""
    for symbol in find_symbols(root):
        yield from find_symbol_segments(root, symbol)


def find_symbols(root: Path) -> Iterator[str]:
    """Yield symbols that have a folder of sealed files."""
    for name in _names(sealed_folder(root)):
        if name.startswith(_SYMBOL_FOLDER):
            yield urllib.parse.unquote(name.removeprefix(_SYMBOL_FOLDER))


def find_symbol_segments(root: Path, symbol: str) -> Iterator[Segment]:
    """Yield one symbol's sealed files by name, including superseded ones."""
    for name in _names(symbol_folder(root, symbol)):
        segment = parse_segment(symbol, name)
        if segment is not None:
            yield segment


def symbol_folder(root: Path, symbol: str) -> Path:
    """Return the folder of one symbol's sealed files; a symbol may hold any character."""
    return sealed_folder(root) / (_SYMBOL_FOLDER + urllib.parse.quote(symbol, safe=""))


def segment_path(root: Path, segment: Segment) -> Path:
    """Return the path of a sealed file."""
    return symbol_folder(root, segment.symbol) / segment.name


def recent_path(root: Path, recent: Recent) -> Path:
    """Return the path of a recent file."""
    return root / RECENT / recent.name


def file_path(root: Path, file: Segment | Recent) -> Path:
    """Return the path of a Parquet file."""
    return segment_path(root, file) if isinstance(file, Segment) else recent_path(root, file)


def empty_recent(root: Path) -> Path:
    """Return the file without rows that stands in for recent files."""
    return root / EMPTY / "recent.parquet"


def empty_segment(root: Path) -> Path:
    """Return the file without rows that stands in for sealed files."""
    return root / EMPTY / "interval=1m" / "symbol=none" / "bars.parquet"


def escape(path: str) -> str:
    """Escape a path so that as a glob pattern it matches only itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []
