"""What can go wrong with a data directory, in sentences for its owner."""


class DataDirectoryError(Exception):
    """The data directory cannot be used as it is; the text says what to change."""
