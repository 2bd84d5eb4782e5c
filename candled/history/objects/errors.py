"""Errors of an object store."""

from candled.errors import UserError


class ObjectStoreError(UserError):
    """The object store does not answer or refuses; another try may succeed."""


class OtherHistoryError(UserError):
    """The object store holds another history than the data directory; no try can succeed."""
