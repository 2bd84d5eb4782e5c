"""Bytes to and from an exchange: websockets and request limits."""
