"""Which daemon serves which symbol, when several share the work."""

from typing import Final

import attrs

SHARD_PLACEHOLDER: Final = "{shard}"
"""A shard's number in an address pattern, as in ``candled-{shard}.candled-shards.prices.svc:50051``."""


@attrs.frozen(slots=True)
class ShardMap:
    """The symbols of each shard; a shard's number is its index. Every symbol belongs to one shard."""

    shards: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.shards)

    def symbols(self, shard: int) -> tuple[str, ...]:
        """Return the symbols of a shard.

        Raises:
            ValueError: there is no such shard.
        """
        if not 0 <= shard < len(self.shards):
            raise ValueError(
                f"shard {shard} is not in the shard map, which has shards 0 to {len(self.shards) - 1}:"
                " run as many daemons as the map has shards"
            )
        return self.shards[shard]

    def elsewhere(self, shard: int, address_pattern: str = "") -> dict[str, str]:
        """Return which shard serves each symbol that ``shard`` does not, with its address if it is known."""
        return {
            symbol: _place(number, address_pattern)
            for number, symbols in enumerate(self.shards)
            if number != shard
            for symbol in symbols
        }


def _place(shard: int, address_pattern: str) -> str:
    address = address_pattern.replace(SHARD_PLACEHOLDER, str(shard))
    return f"shard {shard} at {address}" if address else f"shard {shard}"


def parse_shards(text: str) -> ShardMap:
    """Parse a shard map: commas between symbols, semicolons between shards, as in ``BTCUSDT,ETHUSDT;PEPEUSDT``.

    Raises:
        ValueError: a shard without symbols, or a symbol that occurs twice; the text says which.
    """
    owner: dict[str, int] = {}
    shards = []
    for number, part in enumerate(text.split(";")):
        symbols = tuple(symbol for symbol in map(str.strip, part.split(",")) if symbol)
        if not symbols:
            raise ValueError(f"shard {number} of the shard map {text[:200]!r} has no symbols: name at least one")
        for symbol in symbols:
            first = owner.setdefault(symbol, number)
            if first != number or symbols.count(symbol) > 1:
                places = f"shards {first} and {number}" if first != number else f"shard {number} twice"
                raise ValueError(f"{symbol} is in {places} of the shard map: name every symbol once")
        shards.append(symbols)
    return ShardMap(tuple(shards))
