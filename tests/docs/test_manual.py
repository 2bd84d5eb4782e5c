"""The man pages: made from the commands, and read by the programs that show them."""

import re
import shutil
import subprocess

import pytest

from candled.cli.main import COMMANDS
from docs.manual import pages

_SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"]


def rendered(page: str) -> str:
    """The page as a reader sees it, 100 columns wide."""
    command = ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=100n", "-ww"]
    done = subprocess.run(command, input=pages()[page], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_each_command_has_its_page() -> None:
    """One page for candled, and one for each command of the table."""
    assert set(pages()) == {"candled.1", *(f"candled-{name}.1" for name in COMMANDS)}


def test_pages_have_their_sections() -> None:
    """A reader finds the sections in the order in which man pages have them."""
    for page in pages().values():
        sections = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
        assert [name for name in sections if name not in ("COMMANDS", "NOTES")] == _SECTIONS


def test_no_text_is_read_as_a_request() -> None:
    """Every line that begins as a request of roff is one that the page means."""
    known = {".TH", ".nh", ".SH", ".TP", ".PP", ".EX", ".EE", ".B", ".BR"}
    for page in pages().values():
        assert {line.split(" ")[0] for line in page.splitlines() if line.startswith((".", "'"))} <= known


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_every_page_renders() -> None:
    """The formatter warns of nothing."""
    for page in pages():
        rendered(page)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_a_page_shows_options_and_example() -> None:
    """Options with their defaults, and an example on a line of its own."""
    text = rendered("candled-bars.1")
    assert "\nSYNOPSIS\n       candled bars [OPTIONS] SYMBOL...\n" in text
    assert re.search(r"^       --interval INTERVAL\n +One of 1m .* 1M\. \[default: 1m\]$", text, re.MULTILINE)
    assert re.search(
        r"^ +candled bars BTCUSDT ETHUSDT --interval 1h --from -1d --output day.parquet$", text, re.MULTILINE
    )
