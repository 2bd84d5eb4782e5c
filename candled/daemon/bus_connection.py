"""The connection to the bus, from the daemon's settings."""

import random
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from candled.bus.nats.connection import Nats, NatsOptions, open_nats
from candled.config.settings import DaemonSettings
from candled.errors import UserError


@asynccontextmanager
async def open_bus(settings: DaemonSettings, name: str, rng: random.Random) -> AsyncIterator[Nats]:
    """Keep a connection to the bus while inside; it may not be there yet when this yields.

    Args:
        settings: which servers, and how to log in.
        name: of this process, as the servers' lists show it.
        rng: chooses the first server, and makes subjects that nobody else uses.

    Raises:
        UserError: a setting is missing, or a file cannot be used.
    """
    if not settings.bus_urls:
        raise UserError(
            f"Role {settings.role} needs a bus: name its NATS servers with --bus-urls nats://host:4222, "
            "or run with --role all."
        )
    options = NatsOptions(
        urls=rng.sample(settings.bus_urls, len(settings.bus_urls)),  # so that not all depend on the first one
        name=name,
        login=_login(settings.bus_login_file),
        tls=_tls(settings),
    )
    async with open_nats(options, rng) as nats:
        yield nats


def process_name(settings: DaemonSettings) -> str:
    """Return what this process is called beside others: in Kubernetes, the host's name is the pod's."""
    return settings.process_name or socket.gethostname()


def _login(file: Path | None) -> Mapping[str, str]:
    """Return the fields of CONNECT that a login file stands for."""
    if file is None:
        return {}
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The bus login file {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}; "
            "name another with --bus-login-file."
        ) from error
    user, colon, password = text.partition(":")
    if not text or "\n" in text:
        raise UserError(f"The bus login file {file} must have one line: user:password, or a token.")
    return {"user": user, "pass": password} if colon else {"auth_token": text}


def _tls(settings: DaemonSettings) -> ssl.SSLContext:
    """Return the context for ``tls://`` servers."""
    try:
        context = ssl.create_default_context(cafile=settings.bus_tls_authority)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"Certificates of --bus-tls-authority {settings.bus_tls_authority} cannot be used: "
            f"{error.strerror or error}; give a PEM file."
        ) from error
    certificate, key = settings.bus_tls_certificate, settings.bus_tls_key
    if (certificate is None) != (key is None):
        raise UserError("Options --bus-tls-certificate and --bus-tls-key go together: give both, or none.")
    if certificate is not None and key is not None:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise UserError(
                f"The certificate {certificate} with the key {key} of --bus-tls-key cannot be used: "
                f"{error.strerror or error}; give PEM files that belong together."
            ) from error
    return context
