"""The seam to the object store's library: objects below one prefix, by key. Blocking; threads may share it.

An object appears whole or not at all. Nothing is ever replaced: ``put`` creates an object or finds it there.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from candled.history.objects.aws_profile import read_aws_profile
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.location import Location, parse_location

OBJECT_BYTES_MAX: Final = 1 << 30
"""A month of a symbol is 3 MB; what merges at most 300,000 rows, some tens."""
_REQUEST_SECONDS: Final = 60
"""Longest that one request may take, its content included."""
_CONNECT_SECONDS: Final = 5
_QUERY: Final = re.compile(r"\?\S*")
"""Of a URL in an error's text: it may hold a signature."""
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_METADATA_SERVICES: Final = ("//169.254.169.254/", "//metadata.google.internal/", "//metadata/")
_DEFAULT_REGION: Final = "us-east-1"


@attrs.frozen
class StoredObject:
    """An object in a listing."""

    key: str
    size: int


class Bucket:
    """The objects of one history."""

    def __init__(self, store: Any, url: str) -> None:
        """Wrap a store of the library whose prefix is the history's."""
        self.url = url
        self._store = store

    def list(self, prefix: str = "", after: str | None = None) -> list[StoredObject]:
        """Return the objects in a folder, and in those below it, by key.

        Args:
            prefix: The folder; empty: all.
            after: Leave out keys up to and including this one.

        Raises:
            ObjectStoreError: it cannot be read.
        """
        with self._explained("list", prefix or "it"):
            pages = self._store.list(prefix or None, offset=after)
            found = [StoredObject(meta["path"], meta["size"]) for page in pages for meta in page]
        return sorted(found, key=lambda each: each.key)

    def get(self, key: str) -> bytes | None:
        """Return an object's content; None if there is no such object.

        Raises:
            ObjectStoreError: it cannot be read.
        """
        with self._explained("read", key):
            try:
                found = self._store.get(key)
                if found.meta["size"] > OBJECT_BYTES_MAX:
                    raise ObjectStoreError(f"Object {key} in {self.url} is too large to be candled's.")
                return bytes(found.bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def put(self, key: str, content: bytes) -> bool:
        """Create an object; return False if there is one of that key, which stays as it is.

        Raises:
            ObjectStoreError: it may or may not have been created.
        """
        with self._explained("write", key):
            try:
                self._store.put(key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored.

        Raises:
            ObjectStoreError: some may still be there.
        """
        for key in keys:
            with self._explained("delete", key):
                try:
                    self._store.delete(key)
                except FileNotFoundError as error:
                    if "NoSuchBucket" in str(error):
                        raise

    @contextmanager
    def _explained(self, what: str, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise ObjectStoreError(f"Cannot {what} {key} in {self.url}: {_reason(error)}.") from error


def open_bucket(url: str, endpoint: str | None = None) -> Bucket:
    """Return the objects below a URL; nothing is asked of the store yet.

    Keys, tokens and regions come from where the store's own tools look: the environment, files that it names, the
    AWS profile, and the metadata service of the machine.

    Args:
        url: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` or ``file:///folder``.
        endpoint: Address of an S3-compatible server (or of an emulator); None: the provider's own.

    Raises:
        ObjectStoreError: the URL or the settings of the store cannot be used.
    """
    try:
        location = parse_location(url)
    except ValueError as error:
        raise ObjectStoreError(f"The URL of the history, {url}, {error}.") from error
    try:
        return Bucket(_open(location, endpoint), url.rstrip("/"))
    except (BaseError, OSError, ValueError) as error:
        raise ObjectStoreError(f"The object store {url} cannot be opened: {_reason(error)}.") from error


def home_folder() -> Path:
    """Return the user's home directory; a folder that does not exist if there is none, as in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def _open(location: Location, endpoint: str | None) -> Any:
    if location.scheme == "file":
        return LocalStore(location.prefix, mkdir=True)
    options: dict[str, Any] = {
        "prefix": location.prefix or None,
        "client_options": {
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
        },
        # Whoever asks tries again itself, counts it, and says so.
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=_REQUEST_SECONDS)},
    }
    if endpoint is not None:
        options["endpoint"] = endpoint
    if location.scheme == "gs":
        return GCSStore(location.bucket, **options)
    if location.scheme == "az":
        return AzureStore(location.bucket, **options)
    options |= read_aws_profile(os.environ, home_folder())
    if "region" not in options and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
        options["region"] = _DEFAULT_REGION
    return S3Store(location.bucket, checksum_algorithm="sha256", **options)


def _reason(error: Exception) -> str:
    """Return the text of the library's error in one line, without what could be secret."""
    text = str(error)
    if any(address in text for address in _METADATA_SERVICES):
        return (
            "no keys were found: neither in the environment or a profile, nor from this machine's metadata service"
        )
    if "NoSuchBucket" in text:
        return "the bucket does not exist"
    code = _CODE.search(text)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return f"the store refuses access{f' ({code[1]})' if code else ''}: check its keys and policy"
    line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    said = _QUERY.sub("", line.partition(": <?xml")[0]).rstrip(".")
    return f"{said} ({code[1]})" if code else said
