"""candled: exact candles from an exchange's trade stream, streamed on every trade and kept for good."""
