"""What the HTTP port answers: whether the daemon lives, whether it is ready, and its metrics."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def make_application(*, not_ready_reasons: Callable[[], Sequence[str]], registry: CollectorRegistry) -> Starlette:
    """The application; it holds no state of its own."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_request: Request) -> Response:
        reasons = not_ready_reasons()
        if reasons:
            return PlainTextResponse("".join(f"{reason}\n" for reason in reasons), status_code=503)
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )
