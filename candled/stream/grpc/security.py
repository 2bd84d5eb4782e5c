"""TLS, mutual TLS and bearer tokens of the gRPC port, all of which can be renewed without a restart."""

import ssl
from pathlib import Path
from typing import Any, Final

import attrs
import structlog
from grpclib.const import Status
from grpclib.events import RecvRequest, listen
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from candled.errors import UserError
from candled.stream.access import BearerTokens

_OPEN_TO_ALL: Final = "/grpc.health.v1.Health/"
"""Probes carry no token."""

_log = structlog.get_logger(__name__)


@attrs.frozen(kw_only=True)
class SecurityFiles:
    """Paths of the secrets; None switches each part off."""

    certificate: Path | None = None
    """PEM, the whole chain."""
    key: Path | None = None
    client_authority: Path | None = None
    """PEM: clients must show a certificate that one of these has signed."""
    tokens: Path | None = None


class Security:
    """Authentication and encryption of a server.

    Raises:
        UserError: a file is missing or unusable; the text names it and the reason.
    """

    def __init__(self, files: SecurityFiles) -> None:
        self._files = files
        self._tokens = None if files.tokens is None else BearerTokens(files.tokens)
        self._seen = self._stamps()
        self.context = self._make_context()

    def guard(self, server: Server) -> None:
        """Refuse calls of this server without a valid token, if tokens are configured."""
        if self._tokens is not None:
            listen(server, RecvRequest, self._check)

    def reload(self) -> None:
        """Reload changed files for new connections and calls; keep the current ones if a file is unusable."""
        try:
            if self._tokens is not None and self._tokens.reload():
                _log.info("bearer tokens renewed")
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                self._make_context()  # a trial run: the context in use must not be left half changed
                self._fill(self.context)
                _log.info("certificate renewed", file=str(self._files.certificate))
        except UserError as error:
            _log.error("reload of security files rejected; keeping current ones", reason=str(error))

    async def _check(self, event: RecvRequest) -> None:
        assert self._tokens is not None
        value: Any = event.metadata.get("authorization")
        if not event.method_name.startswith(_OPEN_TO_ALL) and not self._tokens.allow(value):
            text = "This service asks for a token: send metadata authorization: Bearer <token>."
            raise GRPCError(Status.UNAUTHENTICATED, text)

    def _make_context(self) -> ssl.SSLContext | None:
        files = self._files
        if files.certificate is None:
            if files.key is not None or files.client_authority is not None:
                raise UserError("TLS needs a certificate: give its file with --grpc-tls-certificate.")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        self._fill(context)
        return context

    def _fill(self, context: ssl.SSLContext | None) -> None:
        files = self._files
        if context is None or files.certificate is None:
            return
        try:
            # An encrypted key would prompt at the terminal: refuse it instead.
            context.load_cert_chain(files.certificate, files.key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            text = f"TLS certificate {files.certificate} and its key cannot be used: {error.strerror or error}; "
            raise UserError(text + "give a PEM chain and the key that belongs to it.") from None
        if files.client_authority is not None:
            try:
                context.load_verify_locations(files.client_authority)
            except (OSError, ssl.SSLError) as error:
                text = f"Client authority {files.client_authority} cannot be used: {error.strerror or error}; "
                raise UserError(text + "give PEM certificates.") from None
            context.verify_mode = ssl.CERT_REQUIRED

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in (self._files.certificate, self._files.key, self._files.client_authority)]


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_ino)
