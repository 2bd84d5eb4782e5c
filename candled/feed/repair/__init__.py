"""Fetch over REST what the stream did not bring."""
