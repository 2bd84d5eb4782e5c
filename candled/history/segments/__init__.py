"""Parquet segments: their names, their layout, and the steps that change them."""
