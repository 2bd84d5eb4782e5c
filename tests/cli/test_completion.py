"""Completion in the shells themselves: the script that ``candled completion`` prints, and what Tab then gives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from candled.cli.main import COMMANDS, main
from candled.domain.interval import INTERVALS

PROGRAMS = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(not (PROGRAMS / "candled").exists(), reason="the program is not installed")

_BASH = """
source <(candled completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_candled_completion candled "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
complete -p candled >&2
"""


def in_shell(directory: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell that finds the program of this environment, in an empty directory, without CANDLED_* variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CANDLED_")}
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=directory,
        env=kept | environment | {"PATH": path, "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )


def completed(directory: Path, *words: str, **environment: str) -> list[str]:
    """What Tab gives in bash after these words of a command line, the last of which is being typed."""
    command = ("bash", "--norc", "-c", _BASH, "bash", "candled", *words)
    return in_shell(directory, *command, **environment).stdout.split()


def test_bash_completes_commands(tmp_path: Path) -> None:
    """The commands of the table, and no other list of them."""
    assert completed(tmp_path, "") == list(COMMANDS)


def test_bash_completes_options(tmp_path: Path) -> None:
    """Options of a command are completed from their beginning."""
    assert completed(tmp_path, "bars", "--ov") == ["--overwrite"]


def test_bash_completes_choices(tmp_path: Path) -> None:
    """Intervals are those that the domain defines."""
    assert completed(tmp_path, "watch", "--interval", "") == list(INTERVALS)


def test_bash_completes_words_of_a_setting(tmp_path: Path) -> None:
    """A setting that allows certain words offers them, from its one definition."""
    assert completed(tmp_path, "run", "--log-level", "") == ["debug", "info", "warning", "error"]


def test_bash_completes_symbols_of_the_settings(tmp_path: Path) -> None:
    """Symbols come from the settings file, in the case that is typed."""
    (tmp_path / "candled.toml").write_text('symbols = ["BTCUSDT", "BNBUSDT", "ETHUSDT"]\n')
    assert completed(tmp_path, "bars", "b") == ["btcusdt", "bnbusdt"]


def test_bash_completes_the_last_symbol_of_a_list(tmp_path: Path) -> None:
    """In a list by comma, what stands before the last comma is kept."""
    words = ("backfill", "--symbols", "BTCUSDT,E")
    assert completed(tmp_path, *words, CANDLED_SYMBOLS="BTCUSDT,ETHUSDT") == ["BTCUSDT,ETHUSDT"]


def test_wrong_settings_complete_no_symbol(tmp_path: Path) -> None:
    """Where the settings have a mistake, Tab is silent."""
    assert completed(tmp_path, "watch", "B", CANDLED_CONNECTIONS="0") == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_its_script(tmp_path: Path) -> None:
    """Zsh registers the completion of the script that is made for it."""
    text = "autoload -U compinit && compinit -u; source <(candled completion zsh); print $_comps[candled]"
    assert in_shell(tmp_path, "zsh", "-f", "-c", text).stdout == "_candled_completion\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_choices(tmp_path: Path) -> None:
    """Fish completes with the script that is made for it."""
    text = "candled completion fish | source; complete --do-complete 'candled status --format '"
    assert in_shell(tmp_path, "fish", "--no-config", "-c", text).stdout.split() == ["json", "table"]


def test_an_unknown_shell_is_refused() -> None:
    """The error names the shells there are."""
    result = CliRunner().invoke(main, ["completion", "tcsh"])
    assert (result.exit_code, "'bash', 'zsh', 'fish'" in result.stderr) == (2, True)
