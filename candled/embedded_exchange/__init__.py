"""The embedded exchange: a market, its ledger and the wire forms of Binance spot. It does not know the engine."""
