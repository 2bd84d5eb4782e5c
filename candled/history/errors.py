"""What can go wrong with a data directory, in sentences for its owner."""

from candled.errors import UserError


class DataDirectoryError(UserError):
    """The data directory cannot be used as it is; the text says what to change."""
