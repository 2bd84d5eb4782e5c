"""Where settings come from, which source wins, and what a wrong one is told."""

from pathlib import Path

import pytest

from candled.errors import SettingsError
from candled.settings import DaemonSettings, ExchangeSettings
from candled.settings_sources import find_file, load_settings, read_file

FILE = Path("my.toml")


def load(command_line=None, environment=None, file_values=None, cls=DaemonSettings):
    return load_settings(
        cls,
        command_line=command_line or {},
        environment=environment or {},
        file=FILE,
        file_values=file_values or {},
    )


def test_without_any_source_the_defaults_stand() -> None:
    loaded = load()
    assert loaded.settings == DaemonSettings()
    assert set(loaded.sources.values()) == {"default"}


def test_command_line_wins_over_environment_over_file_over_default() -> None:
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


def test_lists_are_by_comma_in_text_and_arrays_in_the_file() -> None:
    assert load({"symbols": "BTCUSDT, ETHUSDT"}).settings.symbols == ("BTCUSDT", "ETHUSDT")
    assert load(file_values={"symbols": ["BTCUSDT"]}).settings.symbols == ("BTCUSDT",)


def test_paths_are_paths_and_an_optional_one_may_be_absent() -> None:
    assert load({"data_dir": "/x/y"}).settings.data_dir == Path("/x/y")
    assert load(cls=ExchangeSettings).settings.replay is None
    assert load({"replay": "f.json"}, cls=ExchangeSettings).settings.replay == Path("f.json")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(environment={"CANDLED_DATA_DIR": ""}).sources["data_dir"] == "default"


def test_variables_that_kubernetes_makes_for_a_service_do_no_harm() -> None:
    environment = {"CANDLED_PORT": "tcp://10.0.0.1:50051", "CANDLED_SERVICE_HOST": "10.0.0.1"}
    assert load(environment=environment).settings == DaemonSettings()


def test_a_bad_value_that_a_stronger_source_overrides_is_not_looked_at() -> None:
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
        ({"symbols": "btcusdt"}, ["symbols", "upper case", "'btcusdt'"]),
        ({"symbols": "BTCUSDT,BTCUSDT"}, ["symbols", "once"]),
        ({"stream_urls": "http://x"}, ["stream_urls", "ws:// or wss://"]),
        ({"rest_urls": "x:1"}, ["rest_urls", "http:// or https://"]),
        ({"grpc_address": "localhost"}, ["grpc_address", "host:port"]),
        ({"http_address": "localhost:99999"}, ["http_address", "host:port", "65535"]),
    ],
)
def test_a_wrong_value_names_the_setting_its_source_and_what_is_allowed(command_line, words) -> None:
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
def test_a_value_of_the_wrong_type_in_the_file_is_refused(values) -> None:
    with pytest.raises(SettingsError, match=r"file \(my\.toml\)"):
        load(file_values=values)


def test_an_unknown_key_in_the_file_is_told_with_the_nearest_setting() -> None:
    with pytest.raises(SettingsError, match=r"'stream-url' in my\.toml: did you mean 'stream_urls'"):
        load(file_values={"stream-url": ["ws://x"]})


def test_an_unknown_key_like_no_other_lists_the_settings() -> None:
    with pytest.raises(SettingsError, match="the settings are symbols, stream"):
        load(file_values={"zzz": 1})


def test_the_exchange_has_a_table_of_its_own_in_the_file(tmp_path) -> None:
    path = tmp_path / "candled.toml"
    path.write_text('symbols = ["BTCUSDT"]\n[exchange]\nspeed = 60\n')
    content = read_file(path)
    assert content is not None
    assert load_settings(DaemonSettings, file=path, file_values=content.daemon).settings.symbols == ("BTCUSDT",)
    assert load_settings(ExchangeSettings, file=path, file_values=content.exchange).settings.speed == 60


def test_a_file_that_is_not_there_is_told(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"No such file.*--config"):
        read_file(tmp_path / "none.toml")


def test_a_file_that_is_not_toml_is_told_with_the_place(tmp_path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("symbols = [}\n")
    with pytest.raises(SettingsError, match=r"not valid TOML.*line"):
        read_file(path)


def test_the_file_is_the_named_one_then_the_variable_then_the_one_that_lies_here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(None, {}) is None
    Path("candled.toml").touch()
    assert find_file(None, {}) == Path("candled.toml")
    assert find_file(None, {"CANDLED_CONFIG": "b.toml"}) == Path("b.toml")
    assert find_file("a.toml", {"CANDLED_CONFIG": "b.toml"}) == Path("a.toml")


def test_settings_made_by_a_program_are_checked_too() -> None:
    with pytest.raises(ValueError, match="connections must be at least 1"):
        DaemonSettings(connections=0)
