import pytest

from candled.config.shards import parse_shards


def test_each_symbol_has_the_shard_that_names_it() -> None:
    shards = parse_shards("BTCUSDT,ETHUSDT;PEPEUSDT")

    assert len(shards) == 2
    assert shards.symbols(0) == ("BTCUSDT", "ETHUSDT")
    assert shards.symbols(1) == ("PEPEUSDT",)


def test_spaces_and_a_trailing_comma_do_not_matter() -> None:
    assert parse_shards(" BTCUSDT , ETHUSDT, ; PEPEUSDT ") == parse_shards("BTCUSDT,ETHUSDT;PEPEUSDT")


def test_each_shard_knows_who_serves_the_other_symbols() -> None:
    shards = parse_shards("BTCUSDT,ETHUSDT;PEPEUSDT")

    assert shards.elsewhere(0, "candled-{shard}:50051") == {"PEPEUSDT": "shard 1 at candled-1:50051"}
    assert shards.elsewhere(1) == {"BTCUSDT": "shard 0", "ETHUSDT": "shard 0"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("BTCUSDT;BTCUSDT", "BTCUSDT is in shards 0 and 1"),
        ("BTCUSDT,ETHUSDT,BTCUSDT", "BTCUSDT is in shard 0 twice"),
        ("BTCUSDT;;ETHUSDT", "shard 1 .* has no symbols"),
        ("", "shard 0 .* has no symbols"),
    ],
)
def test_shard_map_must_be_a_partition(text: str, complaint: str) -> None:
    """A map with an overlap or a hole is refused, with the place of the fault."""
    with pytest.raises(ValueError, match=complaint):
        parse_shards(text)


@pytest.mark.parametrize("shard", [-1, 2])
def test_unknown_shard_names_the_valid_range(shard: int) -> None:
    with pytest.raises(ValueError, match="shards 0 to 1"):
        parse_shards("BTCUSDT;ETHUSDT").symbols(shard)
