"""Health and metrics over HTTP, without sockets."""

import httpx
import pytest

from cxml.api.app import METRICS_TYPE, make_app
from cxml.api.readiness import Readiness


class Text:
    def render(self) -> bytes:
        return b"cxmld_calls_active 1\n"


class Broken:
    def render(self) -> bytes:
        raise ValueError("secret detail")


async def get(path: str, readiness: Readiness = Readiness(), method: str = "GET", metrics: Text | Broken | None = None) -> httpx.Response:  # noqa: B008
    app = make_app(lambda: readiness, metrics or Text())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cxmld") as client:
        return await client.request(method, path)


async def test_a_running_daemon_is_live_even_if_it_is_not_ready() -> None:
    response = await get("/health/live", Readiness(("draining",)))
    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_a_daemon_that_takes_calls_is_ready() -> None:
    response = await get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "reasons": [], "shedding": []})
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_daemon_that_sheds_says_so_and_stays_ready() -> None:
    response = await get("/health/ready", Readiness(shedding=("max_calls_per_s",)))
    assert (response.status_code, response.json()) == (200, {"status": "ready", "reasons": [], "shedding": ["max_calls_per_s"]})


async def test_a_daemon_that_takes_no_calls_says_why() -> None:
    response = await get("/health/ready", Readiness(("draining", "not registered at pbx")))
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "reasons": ["draining", "not registered at pbx"], "shedding": []}


async def test_a_daemon_without_some_of_its_workers_is_degraded_and_takes_calls() -> None:
    response = await get("/health/ready", Readiness(missing=("worker 1",)))
    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "reasons": [], "shedding": [], "missing": ["worker 1"]}
    response = await get("/health/ready", Readiness(("draining",), missing=("worker 1",)))
    assert (response.status_code, response.json()["status"]) == (503, "not ready")


async def test_health_and_metrics_may_have_to_be_asked_for() -> None:
    class Asked:
        async def render(self) -> bytes:
            return b"cxmld_calls_active 2\n"

    async def readiness() -> Readiness:
        return Readiness(("no worker",))

    transport = httpx.ASGITransport(make_app(readiness, Asked()))
    async with httpx.AsyncClient(transport=transport, base_url="http://cxmld") as client:
        assert (await client.get("/metrics")).text == "cxmld_calls_active 2\n"
        assert (await client.get("/health/ready")).json()["reasons"] == ["no worker"]


async def test_metrics_have_the_type_that_prometheus_expects() -> None:
    response = await get("/metrics")
    assert (response.status_code, response.headers["Content-Type"], response.text) == (200, METRICS_TYPE, "cxmld_calls_active 1\n")


@pytest.mark.parametrize("path", ["/", "/health", "/metrics/", "/health/live/x", "/../etc/passwd", "/%00"])
async def test_everything_else_is_not_found_as_json(path: str) -> None:
    response = await get(path)
    assert (response.status_code, response.json()) == (404, {"status": 404, "message": "Not Found"})


async def test_another_method_is_not_allowed() -> None:
    response = await get("/health/live", method="POST")
    assert (response.status_code, response.json()["status"]) == (405, 405)
    assert "GET" in response.headers["Allow"]


async def test_a_head_request_is_answered() -> None:
    assert (await get("/health/live", method="HEAD")).status_code == 200


async def test_a_crash_is_a_500_without_details() -> None:
    response = await get("/metrics", metrics=Broken())
    assert (response.status_code, response.json()) == (500, {"status": 500, "message": "Internal Server Error"})
