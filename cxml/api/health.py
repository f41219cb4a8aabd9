"""Whether the daemon lives, and whether it takes calls."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cxml.api.readiness import Readiness


async def given(value: Readiness | Awaitable[Readiness]) -> Readiness:
    """Return *value*, awaiting it if it has to be asked for."""
    return value if isinstance(value, Readiness) else await value


def health_routes(readiness: Callable[[], Readiness | Awaitable[Readiness]]) -> list[Route]:
    """Return the routes ``/health/live`` and ``/health/ready``; *readiness* is asked for each request of the latter."""

    async def live(_request: Request) -> Response:
        """Answer 200: whoever can answer is alive."""
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    async def ready(_request: Request) -> Response:
        """Answer 200 if calls are taken, else 503 and the reasons."""
        state = await given(readiness())
        body: dict[str, object] = {"status": state.status, "reasons": list(state.reasons), "shedding": list(state.shedding)}
        if state.missing:
            body["missing"] = list(state.missing)
        return JSONResponse(body, 200 if state.is_ready else 503, headers=NO_STORE)

    return [Route("/health/live", live, methods=["GET"]), Route("/health/ready", ready, methods=["GET"])]


NO_STORE = {"Cache-Control": "no-store"}
"""An old answer about health is a wrong one."""
