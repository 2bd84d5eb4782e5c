"""Where settings come from, which source wins, and how a wrong value is reported."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.config.sources import Loaded, find_file, load_settings, read_file, unknown_variables
from candled.errors import SettingsError

FILE = Path("my.toml")


Settings = TypeVar("Settings", bound=attrs.AttrsInstance)


def load(
    command_line: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file_values: Mapping[str, object] | None = None,
) -> Loaded[DaemonSettings]:
    """The daemon's settings from these sources."""
    return load_as(DaemonSettings, command_line, environment, file_values)


def load_as(
    cls: type[Settings],
    command_line: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file_values: Mapping[str, object] | None = None,
) -> Loaded[Settings]:
    """Settings of a class from these sources."""
    return load_settings(
        cls,
        command_line=command_line or {},
        environment=environment or {},
        file=FILE,
        file_values=file_values or {},
    )


def test_defaults_apply_without_any_source() -> None:
    loaded = load()
    assert loaded.settings == DaemonSettings()
    assert set(loaded.sources.values()) == {"default"}


def test_order_of_sources() -> None:
    """The command line wins over the environment, that over the file, and that over the default."""
    file_values = {"connections": 2, "stream": "aggTrade", "close_grace": 3, "log_level": "debug"}
    environment = {"CANDLED_CONNECTIONS": "3", "CANDLED_STREAM": "trade", "CANDLED_CLOSE_GRACE": "2.5"}
    loaded = load({"connections": "4", "stream": None}, environment, file_values)
    assert loaded.settings.connections == 4
    assert loaded.settings.stream == "trade"
    assert loaded.settings.close_grace == 2.5
    assert loaded.settings.log_level == "debug"
    assert loaded.settings.log_format == "auto"
    assert loaded.sources["connections"] == "command line (--connections)"
    assert loaded.sources["close_grace"] == "environment (CANDLED_CLOSE_GRACE)"
    assert loaded.sources["log_level"] == "file (my.toml)"
    assert loaded.sources["log_format"] == "default"


def test_lists_are_comma_separated_or_arrays() -> None:
    assert load({"symbols": "BTCUSDT, ETHUSDT"}).settings.symbols == ("BTCUSDT", "ETHUSDT")
    assert load(file_values={"symbols": ["BTCUSDT"]}).settings.symbols == ("BTCUSDT",)


def test_paths_may_be_absent() -> None:
    assert load({"data_dir": "/x/y"}).settings.data_dir == Path("/x/y")
    assert load_as(ExchangeSettings).settings.replay is None
    assert load_as(ExchangeSettings, {"replay": "f.json"}).settings.replay == Path("f.json")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(environment={"CANDLED_DATA_DIR": ""}).sources["data_dir"] == "default"


def test_kubernetes_service_variables_are_ignored() -> None:
    environment = {"CANDLED_PORT": "tcp://10.0.0.1:50051", "CANDLED_SERVICE_HOST": "10.0.0.1"}
    assert load(environment=environment).settings == DaemonSettings()


def test_overridden_bad_value_is_ignored() -> None:
    assert load({"connections": "1"}, {"CANDLED_CONNECTIONS": "many"}).settings.connections == 1


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        ({"connections": "two"}, ["connections", "--connections", "whole number", "'two'"]),
        ({"connections": "0"}, ["connections", "--connections", "at least 1"]),
        ({"close_grace": "nan"}, ["close_grace", "a number", "'nan'"]),
        ({"close_grace": "-1"}, ["close_grace", "at least 0"]),
        ({"stream": "ticks"}, ["stream", "trade, aggTrade", "'ticks'"]),
        ({"symbols": " , "}, ["symbols", "at least one symbol"]),
        ({"symbols": "BTCUSDT,BTCUSDT"}, ["symbols", "once"]),
        ({"stream_urls": "http://x"}, ["stream_urls", "ws:// or wss://"]),
        ({"rest_urls": "x:1"}, ["rest_urls", "http:// or https://"]),
        ({"grpc_address": "localhost"}, ["grpc_address", "host:port"]),
        ({"http_address": "localhost:99999"}, ["http_address", "host:port", "65535"]),
    ],
)
def test_wrong_value_names_setting_source_and_range(command_line: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(command_line)
    text = str(caught.value)
    assert [word for word in words if word not in text] == []
    assert text.count(". ") == 0
    assert text.endswith(".")


@pytest.mark.parametrize(
    "values",
    [
        {"connections": 1.5},
        {"connections": True},
        {"symbols": "BTCUSDT"} | {"symbols": [1]},
        {"data_dir": 3},
        {"close_grace": [1]},
    ],
)
def test_wrong_type_in_the_file_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"file \(my\.toml\)"):
        load(file_values=values)


def test_unknown_key_names_the_nearest_setting() -> None:
    with pytest.raises(SettingsError, match=r"'stream-url' in my\.toml: did you mean 'stream_urls'"):
        load(file_values={"stream-url": ["ws://x"]})


def test_unknown_key_without_a_match_lists_the_settings() -> None:
    with pytest.raises(SettingsError, match="use one of exchange, symbols, stream"):
        load(file_values={"zzz": 1})


def test_exchange_has_its_own_table(tmp_path: Path) -> None:
    path = tmp_path / "candled.toml"
    path.write_text('symbols = ["BTCUSDT"]\n[exchange]\nspeed = 60\n')
    content = read_file(path)
    assert content is not None
    assert load_settings(DaemonSettings, file=path, file_values=content.daemon).settings.symbols == ("BTCUSDT",)
    assert load_settings(ExchangeSettings, file=path, file_values=content.exchange).settings.speed == 60


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file.*--config"):
        read_file(tmp_path / "none.toml")


def test_invalid_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("symbols = [}\n")
    with pytest.raises(SettingsError, match=r"not valid TOML.*line"):
        read_file(path)


def test_precedence_of_settings_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file named on the command line wins over the variable's, and that over ``candled.toml`` here."""
    monkeypatch.chdir(tmp_path)
    assert find_file(None, {}) is None
    Path("candled.toml").touch()
    assert find_file(None, {}) == Path("candled.toml")
    assert find_file(None, {"CANDLED_CONFIG": "b.toml"}) == Path("b.toml")
    assert find_file("a.toml", {"CANDLED_CONFIG": "b.toml"}) == Path("a.toml")


def test_settings_built_in_code_are_checked() -> None:
    with pytest.raises(ValueError, match="connections must be at least 1"):
        DaemonSettings(connections=0)


@pytest.mark.parametrize("text", ["btcusdt,ETHUSDT", "BTCUSDT ethusdt", " btcusdt , ethusdt ", "BTCUSDT\nETHUSDT"])
def test_symbols_in_any_case_by_comma_or_space(text: str) -> None:
    """Symbols may be typed as people type them."""
    assert load({"symbols": text}).settings.symbols == ("BTCUSDT", "ETHUSDT")


def test_an_unknown_variable_names_the_nearest() -> None:
    """A mistyped variable is named, with the one that was probably meant."""
    environment = {"CANDLED_SYMBOL": "BTCUSDT", "CANDLED_DATA_DIR": "x", "HOME": "/"}
    assert unknown_variables(environment, DaemonSettings, ExchangeSettings) == [
        "The variable CANDLED_SYMBOL is no setting and has no effect: did you mean CANDLED_SYMBOLS?"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "CANDLED_PORT", "CANDLED_SERVICE_HOST", "CANDLED_SERVICE_PORT_GRPC", "CANDLED_PORT_50051_TCP_ADDR",
        "CANDLED_SHARDS_SERVICE_HOST", "CANDLED_TEST_DATA", "CANDLED_CONFIG", "CANDLED_TOKEN_FILE",
    ],
)  # fmt: skip
def test_variables_of_other_programs_are_ignored(name: str) -> None:
    """What Kubernetes and the commands themselves set is no mistake."""
    assert unknown_variables({name: "x"}, DaemonSettings, ExchangeSettings) == []
