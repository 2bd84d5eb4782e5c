"""What settings leave open is said."""

from pathlib import Path

import pytest

from candled.config.exposure import http_exposure
from candled.config.settings import DaemonSettings


@pytest.mark.parametrize(
    ("authority", "tokens", "is_open"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_mutual_tls_and_the_http_port(authority: bool, tokens: bool, is_open: bool) -> None:
    """Client certificates on the gRPC port alone leave the HTTP port open, and the text names the setting."""
    settings = DaemonSettings(
        grpc_tls_client_authority=Path("ca.pem") if authority else None,
        tokens_file=Path("tokens") if tokens else None,
    )
    text = http_exposure(settings)
    assert (text is not None) == is_open
    assert text is None or "--tokens-file" in text
