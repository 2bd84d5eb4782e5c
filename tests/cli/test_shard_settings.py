"""A daemon among several serves the symbols of its shard."""

import pytest

from candled.cli.settings_options import load_daemon_settings
from candled.errors import SettingsError


def test_a_daemon_serves_the_symbols_of_its_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLED_SYMBOLS", "BTCUSDT,ETHUSDT,PEPEUSDT")
    monkeypatch.setenv("CANDLED_SHARDS", "BTCUSDT,ETHUSDT;PEPEUSDT")
    monkeypatch.setenv("CANDLED_SHARD", "1")

    loaded = load_daemon_settings(None)

    assert loaded.settings.symbols == ("PEPEUSDT",)
    assert "CANDLED_SHARDS" in loaded.sources["symbols"]


@pytest.mark.parametrize(
    ("shards", "shard", "words"),
    [
        ("BTCUSDT;BTCUSDT", 0, "BTCUSDT is in shards 0 and 1"),
        ("BTCUSDT;ETHUSDT", 2, "shards 0 to 1"),
        ("btcusdt", 0, "upper case"),
    ],
)
def test_a_map_that_cannot_be_used_is_told_with_where_it_came_from(shards: str, shard: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_daemon_settings(None, {"shards": shards, "shard": str(shard)})
    assert "--shards" in str(caught.value)
