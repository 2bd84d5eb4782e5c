"""The wire form of Coinbase Exchange."""
