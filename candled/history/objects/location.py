"""The URL of a history in an object store. Plain: no I/O."""

from urllib.parse import unquote, urlsplit

import attrs

from candled.config.settings import history_location


@attrs.frozen
class Location:
    """Where a history is."""

    scheme: str
    """``s3``, ``gs``, ``az`` or ``file``."""
    bucket: str
    """Bucket or container; empty for a folder."""
    prefix: str
    """Key prefix without slashes around it, or the absolute path of a folder."""


def parse_location(url: str) -> Location:
    """Parse the URL of a history.

    Raises:
        ValueError: it is not one; the text says what is expected.
    """
    complaint = history_location(url)
    if complaint is not None:
        raise ValueError(complaint)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Location("file", "", unquote(parts.path).rstrip("/"))
    return Location(parts.scheme, parts.netloc, parts.path.strip("/"))
