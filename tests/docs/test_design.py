"""The walks in docs/design.md name every room, once."""

import re
from collections import Counter

import pytest

from docs.reference import ROOT

PACKAGES = ("bus", "daemon", "engine", "feed", "history", "stream")
PACKAGE = ROOT / "candled"


def named() -> Counter[str]:
    """Modules and folders that the walks name, and how often."""
    section = (ROOT / "docs" / "design.md").read_text().split("\n## Two walks")[1].split("\n## ")[0]
    _, _, walks = section.partition("\n**A trade's way out**")
    return Counter(re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w/]*(?:\.py)?)`", walks))


def modules() -> set[str]:
    """Every module of the packages, by its path; a package's own file has nothing to be named for."""
    files = (file for package in PACKAGES for file in (PACKAGE / package).rglob("*.py"))
    return {str(file.relative_to(PACKAGE)) for file in files if not file.name.startswith("__")}


def test_rooms_are_named_once() -> None:
    """Neither a module nor a folder stands twice, and each exists."""
    rooms = named()

    assert [room for room, count in rooms.items() if count > 1] == []
    assert [room for room in rooms if not (PACKAGE / room).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_named(package: str) -> None:
    """Each module is on a way, or beside both, by its own name or by its folder's."""
    rooms = named()
    folders = tuple(room for room in rooms if room.endswith("/"))

    missing = [each for each in modules() if each.startswith(f"{package}/") and each not in rooms]
    assert sorted(each for each in missing if not each.startswith(folders)) == []
