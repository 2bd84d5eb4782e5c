"""The command as a process sees it: help, version, exit statuses, no traceback for a user's mistake."""

import importlib
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from candled.cli.main import COMMANDS, main


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled")


def test_help_lists_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "candled", "--help"], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_help_comes_at_once_as_nothing_is_imported_for_it_that_takes_long() -> None:
    code = """
import sys
from candled.cli.main import main
main(["--help"], standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "click" in imported
    assert imported.isdisjoint({"attrs", "duckdb", "grpclib", "msgspec", "pyarrow", "rich", "structlog", "trio"})


def test_a_mistyped_command_is_answered_with_the_nearest(invoke) -> None:
    result = invoke("statu")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_begins_as_the_table_says(name, invoke) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    command = importlib.import_module(f"candled.cli.{name}_command").command
    assert command.name == name
    assert len(command.get_short_help_str()) > 0


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(main, ["--version"]).output == f"candled {version('candled')}\n"


def test_an_unknown_option_is_a_usage_error(invoke) -> None:
    result = invoke("config", "--connecions", "3")
    assert result.exit_code == 2
    assert "--connections" in result.stderr


def test_a_wrong_setting_is_one_sentence_and_status_2(invoke, monkeypatch) -> None:
    monkeypatch.setenv("CANDLED_CONNECTIONS", "0")
    result = invoke("config")
    assert result.exit_code == 2
    assert result.stderr == (
        "candled: connections from the environment (CANDLED_CONNECTIONS) must be at least 1, not '0'.\n"
    )


def test_config_shows_each_value_and_its_source(invoke, monkeypatch) -> None:
    monkeypatch.setenv("CANDLED_STREAM", "aggTrade")
    lines = invoke("config", "--symbols", "BTCUSDT").output.splitlines()
    shown = {line.split(" = ")[0]: line for line in lines}
    assert shown["symbols"].endswith("# command line (--symbols)")
    assert shown["stream"].endswith("# environment (CANDLED_STREAM)")
    assert shown["data_dir"].endswith("# default")


def test_what_config_shows_is_a_settings_file(invoke, tmp_path) -> None:
    from candled.settings import DaemonSettings
    from candled.settings_sources import load_settings, read_file

    path = tmp_path / "mine.toml"
    path.write_text(invoke("config", "--symbols", "BTCUSDT,ETHUSDT", "--close-grace", "2.5").output)
    content = read_file(path)
    assert content is not None
    loaded = load_settings(DaemonSettings, file=path, file_values=content.daemon)
    assert loaded.settings == DaemonSettings(symbols=("BTCUSDT", "ETHUSDT"), close_grace=2.5)


def test_config_gives_json_to_programs(invoke) -> None:
    document = json.loads(invoke("config", "--format", "json", "--symbols", "BTCUSDT").output)
    assert document["symbols"] == {"value": ["BTCUSDT"], "source": "command line (--symbols)"}
    assert document["connections"] == {"value": 1, "source": "default"}
