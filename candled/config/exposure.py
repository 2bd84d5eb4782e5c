"""What a combination of settings leaves open to everybody, which each setting alone does not show."""

from candled.config.settings import DaemonSettings


def http_exposure(settings: DaemonSettings) -> str | None:
    """Say that the HTTP port asks nothing of clients while the gRPC port does; None if it is not so.

    The HTTP port speaks no TLS, so a client authority does not reach it. Bearer tokens do.
    """
    if settings.grpc_tls_client_authority is None or settings.tokens_file is not None:
        return None
    return (
        f"The HTTP port {settings.http_address} serves bars, status and metrics in clear to everybody who reaches "
        "it: grpc_tls_client_authority protects the gRPC port alone. Ask for tokens with --tokens-file, bind "
        "--http-address to loopback, or let a proxy ask for certificates in front of it."
    )
