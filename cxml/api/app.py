"""The HTTP application: its routes, and JSON for every refusal."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cxml.api.health import NO_STORE, health_routes
from cxml.api.readiness import Readiness

log = structlog.get_logger(__name__)

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of Prometheus' text format."""


class Rendered(Protocol):
    """What has metrics to show."""

    def render(self) -> bytes | Awaitable[bytes]:
        """Return the metrics in Prometheus' text format; they may have to be asked for."""


def make_app(readiness: Callable[[], Readiness | Awaitable[Readiness]], metrics: Rendered) -> Starlette:
    """Return the application with ``/health/live``, ``/health/ready`` and ``/metrics``; everything else is 404."""

    async def show_metrics(_request: Request) -> Response:
        text = metrics.render()
        return Response(text if isinstance(text, bytes) else await text, headers={"Content-Type": METRICS_TYPE, **NO_STORE})

    routes = [*health_routes(readiness), Route("/metrics", show_metrics, methods=["GET"])]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse, Exception: _crashed})
    app.router.redirect_slashes = False
    return app


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("this handler is registered for HTTPException only")
    body = {"status": error.status_code, "message": error.detail}
    return JSONResponse(body, error.status_code, headers=dict(error.headers or {}) | NO_STORE)


async def _crashed(request: Request, error: Exception) -> Response:
    log.error("http_request_crashed", path=request.url.path, exc_info=error)
    return JSONResponse({"status": 500, "message": "Internal Server Error"}, 500, headers=NO_STORE)
