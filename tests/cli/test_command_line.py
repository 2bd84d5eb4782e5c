"""The command as a process sees it: help, version, exit statuses, no traceback for a user's mistake."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from candled.cli.main import COMMANDS, main
from candled.feed.registry import find_adapter
from tests.cli.fakes import Invoke


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled")


def test_help_lists_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "candled", "--help"], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_help_imports_nothing_slow() -> None:
    """``--help`` is printed without importing what takes long."""
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


def test_a_mistyped_command_is_answered_with_the_nearest(invoke: Invoke) -> None:
    result = invoke("statu")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_summary(name: str, invoke: Invoke) -> None:
    """Each command's help begins with its line in the table of commands."""
    result = invoke(name, "--help")
    assert result.exit_code == 0
    command = importlib.import_module(f"candled.cli.{name}_command").command
    assert command.name == name
    assert len(command.get_short_help_str()) > 0


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(main, ["--version"]).output == f"candled {version('candled')}\n"


def test_an_unknown_option_is_a_usage_error(invoke: Invoke) -> None:
    result = invoke("config", "--connecions", "3")
    assert result.exit_code == 2
    assert "--connections" in result.stderr


def test_wrong_setting_exits_2(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is an error of one sentence, with exit status 2."""
    monkeypatch.setenv("CANDLED_CONNECTIONS", "0")
    result = invoke("config")
    assert result.exit_code == 2
    assert result.stderr == (
        "candled: Setting connections from the environment (CANDLED_CONNECTIONS) must be at least 1, not '0'.\n"
    )


def test_config_shows_each_value_and_its_source(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLED_STREAM", "aggTrade")
    lines = invoke("config", "--symbols", "BTCUSDT").output.splitlines()
    shown = {line.split(" = ")[0]: line for line in lines}
    assert shown["symbols"].endswith("# command line (--symbols)")
    assert shown["stream"].endswith("# environment (CANDLED_STREAM)")
    assert shown["data_dir"].endswith("# default")


def test_what_config_shows_is_a_settings_file(invoke: Invoke, tmp_path: Path) -> None:
    from candled.cli.settings_options import load_daemon_settings

    path = tmp_path / "mine.toml"
    options = {"symbols": "BTCUSDT,ETHUSDT", "close_grace": "2.5"}
    path.write_text(invoke("config", "--symbols", "BTCUSDT,ETHUSDT", "--close-grace", "2.5").output)
    assert load_daemon_settings(str(path)).settings == load_daemon_settings(None, options).settings


def test_config_shows_the_exchanges_own_defaults(invoke: Invoke) -> None:
    """Settings that differ between exchanges are shown with the value in force and whose it is."""
    document = json.loads(invoke("config", "--format", "json").output)
    adapter = find_adapter("binance")
    for name in ("symbols", "stream_urls", "rest_urls", "rest_weight_per_minute"):
        value = getattr(adapter.defaults, name)
        assert document[name]["value"] == (list(value) if isinstance(value, tuple) else value)
        assert document[name]["source"] == "default of binance"


def test_unknown_exchange_lists_the_known(invoke: Invoke) -> None:
    """The error of a wrong exchange lists what may be chosen."""
    result = invoke("config", "--exchange", "mtgox")
    assert result.exit_code != 0
    assert "exchange must be one of binance" in result.output
    assert "mtgox" in result.output


def test_config_gives_json_to_programs(invoke: Invoke) -> None:
    document = json.loads(invoke("config", "--format", "json", "--symbols", "BTCUSDT").output)
    assert document["symbols"] == {"value": ["BTCUSDT"], "source": "command line (--symbols)"}
    assert document["connections"] == {"value": 1, "source": "default"}
