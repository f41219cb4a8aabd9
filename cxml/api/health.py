"""Whether the daemon lives, and whether it takes calls."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass(frozen=True, slots=True)
class Readiness:
    """Why calls are not taken, one short text each; empty: they are."""

    reasons: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """True if calls are taken."""
        return not self.reasons


def health_routes(readiness: Callable[[], Readiness]) -> list[Route]:
    """Return the routes ``/health/live`` and ``/health/ready``; *readiness* is asked for each request of the latter."""

    async def live(_request: Request) -> Response:
        """Answer 200: whoever can answer is alive."""
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    async def ready(_request: Request) -> Response:
        """Answer 200 if calls are taken, else 503 and the reasons."""
        state = readiness()
        body = {"status": "ready" if state.is_ready else "not ready", "reasons": list(state.reasons)}
        return JSONResponse(body, 200 if state.is_ready else 503, headers=NO_STORE)

    return [Route("/health/live", live, methods=["GET"]), Route("/health/ready", ready, methods=["GET"])]


NO_STORE = {"Cache-Control": "no-store"}
"""An old answer about health is a wrong one."""
