"""Time-outs, retries, the order of requests, and what is told about them."""

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from structlog.testing import capture_logs

from cxml.services.parameters import CallFacts
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS
from tests.support.web_site import Site, document, failure, moved, webhooks

pytestmark = pytest.mark.looptime


async def test_the_time_outs_of_the_settings_or_of_the_fragment_reach_the_transport() -> None:
    site = Site()
    hooks = webhooks(site)
    await hooks.fetch("http://app/", "POST", {})
    await hooks.fetch("http://app/#ot=300&rt=400", "POST", {})
    timeouts = [request.extensions["timeout"] for request in site.requests]
    assert [(t["connect"], t["read"]) for t in timeouts] == [(2.0, 5.0), (0.3, 0.4)]


class Waiting(httpx.AsyncBaseTransport):
    """Answers after a time; counts how many requests wait at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.most = seconds, 0, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return moved(302, "/again") if "again" in str(request.url) else document()


async def test_the_total_time_out_ends_a_request_and_is_reported() -> None:
    seen: list[tuple[int, float]] = []
    client = WebhookClient(transport=Waiting(60), on_exchange=lambda m, u, code, elapsed, p: seen.append((code, elapsed)))
    loop = asyncio.get_running_loop()
    start = loop.time()
    error = await failure(client.for_call(FACTS, lambda: "ringing"))
    assert (error.code, error.detail) == (11200, "no complete answer within 15 s")
    assert loop.time() - start == pytest.approx(15)
    assert [code for code, _ in seen] == [11200]
    assert seen[0][1] == pytest.approx(15)


async def test_a_call_has_one_request_outstanding_and_calls_do_not_wait_for_each_other() -> None:
    transport = Waiting(1)
    client = WebhookClient(transport=transport)
    hooks = client.for_call(FACTS, lambda: "ringing")
    await asyncio.gather(*(hooks.fetch("http://app/", "POST", {}) for _ in range(3)))
    assert transport.most == 1
    others = [client.for_call(FACTS, lambda: "ringing") for _ in range(3)]
    await asyncio.gather(*(other.fetch("http://app/", "POST", {}) for other in others))
    assert transport.most == 3


async def test_a_cancelled_fetch_lets_the_next_one_go() -> None:
    client = WebhookClient(transport=Waiting(1))
    hooks = client.for_call(FACTS, lambda: "ringing")
    task = asyncio.get_running_loop().create_task(hooks.fetch("http://app/", "POST", {}))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await hooks.fetch("http://app/", "POST", {})).body == DOCUMENT


async def test_nothing_is_retried_unless_the_url_asks() -> None:
    site = Site(httpx.ConnectError("x"), document())
    assert (await failure(webhooks(site))).code == 11200
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("fragment", "first", "tries"),
    [
        ("rc=1", httpx.ConnectError("x"), 2),
        ("rc=1", httpx.ReadTimeout("x"), 1),
        ("rc=1&rp=rt", httpx.ReadTimeout("x"), 2),
        ("rc=1&rp=rt", httpx.ReadError("x"), 2),
        ("rc=2&rp=all", document(status=500), 3),
        ("rc=2&rp=5xx", document(status=404), 1),
        ("rp=4xx", document(status=404), 2),
        ("rc=5&rp=all", document(content_type="text/plain"), 1),
    ],
)
async def test_retries_follow_the_fragment(fragment: str, first: httpx.Response | Exception, tries: int) -> None:
    site = Site(first)
    await failure(webhooks(site), f"http://app/#{fragment}")
    assert len(site.requests) == tries
    assert len({request.content for request in site.requests}) == 1


async def test_a_changed_fragment_gives_one_warning() -> None:
    with capture_logs() as logs:
        await webhooks(Site()).fetch("http://app/?t=1#ct=5&sni=x", "POST", {})
    assert [(entry["event"], entry["url"]) for entry in logs] == [("url_fragment_changed", "http://app/?…")]
    assert "100 used" in logs[0]["problem"]


async def test_a_failing_request_makes_one_debug_line_and_a_good_one_none() -> None:
    site = Site(document(), document(status=500))
    hooks = webhooks(site)
    with capture_logs() as logs:
        await hooks.fetch("http://app/", "POST", {})
        await failure(hooks, "http://app/x?a=b#rc=1&rp=all")
    assert logs == [
        {
            "event": "webhook_failed",
            "log_level": "debug",
            "call_sid": "CA1",
            "code": 11217,
            "detail": "status 500",
            "method": "POST",
            "url": "'http://app/x?\\u2026'",
            "request": 2,
            "attempts": 2,
        }
    ]


async def test_sip_headers_over_the_limits_are_logged_once_per_call() -> None:
    with capture_logs() as logs:
        hooks = webhooks(Site(), CallFacts("CA1", sip_headers={"X-Big": "x" * 2000}))
        await hooks.fetch("http://app/", "POST", {})
    assert [(entry["event"], entry["count"]) for entry in logs] == [("sip_headers_left_out", 1)]


async def test_every_exchange_is_reported_to_both_hooks() -> None:
    site = Site(moved(302, "/b"), document(status=404))
    process: list[tuple[str, str, int]] = []
    call: list[Mapping[str, str]] = []
    client = WebhookClient(transport=httpx.MockTransport(site), on_exchange=lambda m, u, c, t, p: process.append((m, u, c)))
    hooks = client.for_call(FACTS, lambda: "ringing", on_exchange=lambda m, u, c, t, p: call.append(p))
    await failure(hooks, "http://user:pw@app/a")
    assert process == [("POST", "http://app/a", 302), ("GET", "http://app/b", 404)]
    assert [params.get("CallStatus") for params in call] == ["ringing", None]


async def test_a_hook_that_raises_harms_nothing_but_is_logged() -> None:
    def broken(method: str, url: str, code: int, elapsed: float, params: Mapping[str, str]) -> None:
        raise RuntimeError("hook")

    client = WebhookClient(transport=httpx.MockTransport(Site()), on_exchange=broken)
    with capture_logs() as logs:
        fetched = await client.for_call(FACTS, lambda: "ringing").fetch("http://app/", "POST", {})
    assert fetched.body == DOCUMENT
    assert [entry["event"] for entry in logs] == ["exchange_hook_failed"]


async def test_a_closed_client_refuses_requests() -> None:
    async with WebhookClient(transport=httpx.MockTransport(Site())) as client:
        hooks = client.for_call(FACTS, lambda: "ringing")
    assert (await failure(hooks)).code == 11200


async def test_the_total_time_out_counts_redirects_and_retries_together() -> None:
    client = WebhookClient(transport=Waiting(0.9))
    loop = asyncio.get_running_loop()
    start = loop.time()
    error = await failure(client.for_call(FACTS, lambda: "ringing"), "http://app/again#tt=2000&rc=5&rp=all")
    assert error.code == 11200
    assert loop.time() - start == pytest.approx(2)
