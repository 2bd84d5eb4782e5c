"""The Containerfile, as far as reading it goes; test_image.py runs what it builds."""

import fnmatch
import re
import subprocess
from collections.abc import Callable

from tests.ops.conftest import ROOT

TEXT = (ROOT / "Containerfile").read_text()
SLIM = (ROOT / "ops" / "container" / "slim").read_text()
FINAL_STAGE = TEXT[TEXT.rindex("\nFROM ") :]


def test_hadolint_has_nothing_to_say(tool: Callable[[str], str]) -> None:
    answer = subprocess.run([tool("hadolint"), ROOT / "Containerfile"], capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_base_image_is_pinned() -> None:
    """The base can be replaced, and is one digest unless it is."""
    assert TEXT.count("${BASE_IMAGE}") == 1
    assert re.search(
        r"^ARG BASE_IMAGE=docker\.io/library/python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", TEXT, re.MULTILINE
    )


def test_dependencies_come_with_pinned_hashes() -> None:
    installs = re.findall(r"-m pip .*?install ([^\\&\n]*)", TEXT)

    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install


def test_nothing_runs_in_the_final_stage() -> None:
    """The image is what the build stage has gathered, and nothing of its base."""
    assert FINAL_STAGE.startswith("\nFROM scratch\n")
    assert "\nRUN " not in FINAL_STAGE


def test_nothing_is_installed_in_the_final_stage() -> None:
    assert not re.search(r"apt-get|pip3? install|-m pip", FINAL_STAGE)


def test_it_runs_as_a_user_without_a_shell() -> None:
    assert "\nUSER 10001:10001\n" in FINAL_STAGE
    assert "candled:x:10001:10001::/var/lib/candled:/usr/sbin/nologin" in SLIM


def test_what_is_copied_is_let_through_the_ignore_file() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE) for source in line.split()[:-1]
    ]

    assert copied
    for source in copied:
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), f"{source} is not in .dockerignore"
        assert (ROOT / source).exists()
