"""Binance spot: its wire forms, its streams, its REST side."""
