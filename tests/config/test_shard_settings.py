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


def test_each_shard_has_a_prefix_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pods of a set have the same variables."""
    monkeypatch.setenv("CANDLED_SHARDS", "BTCUSDT;PEPEUSDT")
    monkeypatch.setenv("CANDLED_SHARD", "1")
    monkeypatch.setenv("CANDLED_HISTORY_URL", "s3://bucket/candled/{shard}")

    assert load_daemon_settings(None).settings.history_url == "s3://bucket/candled/1"


@pytest.mark.parametrize(
    "url", ["s3://", "bucket", "ftp://host/x", "file://host/x", "s3://key:secret@bucket/x", "gs://b/x?token=1"]
)
def test_history_url_must_be_usable(url: str) -> None:
    """What is neither a bucket nor a folder is refused, with the source of the setting."""
    with pytest.raises(SettingsError, match="Setting history_url from the command line"):
        load_daemon_settings(None, {"history_url": url})


@pytest.mark.parametrize(
    ("shards", "shard", "words"),
    [
        ("BTCUSDT;BTCUSDT", 0, "BTCUSDT is in shards 0 and 1"),
        ("BTCUSDT;ETHUSDT", 2, "shards 0 to 1"),
        ("btcusdt", 0, "upper case"),
    ],
)
def test_bad_shard_map_names_its_source(shards: str, shard: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_daemon_settings(None, {"shards": shards, "shard": str(shard)})
    assert "--shards" in str(caught.value)
