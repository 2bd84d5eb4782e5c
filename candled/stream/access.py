"""Bearer tokens from a file, for every port."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from candled.errors import UserError

_TOKEN_BYTES_MIN: Final = 16
_SCHEME: Final = "bearer "


class BearerTokens:
    """The tokens of a file, one a line; lines that begin with # are comments. The file may change while in use.

    Raises:
        UserError: at the start, the file cannot be read, is empty, or has a token shorter than 16 letters.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests = self._read()
        self._seen = self._stamp()

    def allow(self, authorization: str | None) -> bool:
        """Return whether an ``authorization`` header carries one of the tokens."""
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        digest = hashlib.sha256(authorization[len(_SCHEME) :].strip().encode()).digest()
        # Compare every token in constant time, so that timing reveals nothing.
        return sum(hmac.compare_digest(digest, each) for each in self._digests) > 0

    def reload(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises:
            UserError: it cannot be used; the current tokens stay.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        self._digests = self._read()
        return True

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _read(self) -> tuple[bytes, ...]:
        try:
            lines = self._path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UserError(f"Tokens file {self._path} cannot be read: {reason}; give one token a line.") from None
        tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not tokens or min(map(len, tokens)) < _TOKEN_BYTES_MIN:
            text = f"Tokens file {self._path} needs one token a line, each of {_TOKEN_BYTES_MIN} letters or more."
            raise UserError(text)
        return tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
