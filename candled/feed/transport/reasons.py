"""Why a server could not be reached, in words that say what to do. The same for REST and for websockets."""

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_ERROR_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ")
_CLOCK: Final = frozenset({9, 10})
"""OpenSSL's codes of certificates that are not valid yet, and not any more."""
_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes of certificates that no known authority has signed."""


TEXT_MAX: Final = 200
"""Characters of an exchange's text that are shown."""


def printable(text: str) -> str:
    """Return the beginning of a text without anything that a terminal might obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:TEXT_MAX])


class ProxyError(OSError):
    """A proxy opens no connection to the exchange; the text names it, without its user and password, and why."""

    def __init__(self, proxy: object, why: str) -> None:
        super().__init__(f"the proxy {proxy} {why}")


def why_unreachable(error: BaseException) -> str:
    """Return why a request or a connection failed, from the innermost cause that says it.

    Args:
        error: what a library raised; libraries wrap the errors of TLS and of the name lookup in their own.
    """
    for cause in _causes(error):
        match cause:
            case ProxyError():
                return str(cause)
            case ssl.SSLCertVerificationError():
                return _of_certificate(cause)
            case ssl.SSLError(reason=str() as reason) if reason:
                return f"the TLS handshake failed: {reason.replace('_', ' ').lower()}"
            case socket.gaierror():
                return f"the name of its host cannot be resolved: {cause.strerror}"
    of_system = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError))
    text = next(filter(None, of_system), "") or str(error) or str(error.__cause__ or "")
    return _ERROR_NUMBER.sub("", text) or type(error).__name__


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    text = f"its certificate is refused: {error.verify_message.rstrip('.')}"
    if error.verify_code in _AUTHORITY:
        return f"{text} (name the file of a private authority's certificate in SSL_CERT_FILE)"
    if error.verify_code in _CLOCK:
        return f"{text} (check this machine's clock)"
    return text


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or after; of a group, the first one."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:  # httpcore raises its errors again "from None", which leaves the context alone
            cause = cause.__cause__ or cause.__context__
