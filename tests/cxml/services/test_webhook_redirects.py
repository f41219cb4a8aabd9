"""Redirects, credentials and cookies."""

import base64

import httpx
import pytest
from structlog.testing import capture_logs

from cxml.services.signing import signature
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS
from tests.support.web_site import Site, document, failure, moved, webhooks

pytestmark = pytest.mark.looptime


async def test_the_idempotency_key_is_new_for_each_request_and_kept_for_redirects_and_retries() -> None:
    site = Site(moved(307, "/b"), document(status=503), document())
    hooks = webhooks(site)
    await hooks.fetch("http://app/a#rc=1&rp=5xx", "POST", {})
    await hooks.fetch("http://app/a", "POST", {})
    keys = [request.headers["X-Cxmld-Idempotency-Key"] for request in site.requests]
    assert keys == ["CA1:1", "CA1:1", "CA1:1", "CA1:2"]
    assert hooks.next_request == 3


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_by_301_302_or_303_is_a_get_without_the_parameters(status: int) -> None:
    site = Site(moved(status, "../b?x=1#frag"), document())
    fetched = await webhooks(site, auth_token="tok").fetch("http://app/a/v", "POST", {})
    second = site.requests[1]
    assert (second.method, str(second.url), second.content) == ("GET", "http://app/b?x=1", b"")
    assert second.headers["X-Twilio-Signature"] == signature("tok", "http://app/b?x=1", {})
    assert fetched.url == "http://app/b?x=1"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_by_307_or_308_sends_the_same_form_signed_for_the_new_url(status: int) -> None:
    site = Site(moved(status, "https://other/b"), document())
    await webhooks(site, auth_token="tok").fetch("http://app/a", "POST", {})
    first, second = site.requests
    assert (second.method, second.content) == ("POST", first.content)
    assert second.headers["X-Twilio-Signature"] == signature("tok", "https://other/b", site.forms()[1])


async def test_a_redirected_get_follows_the_location_as_it_is() -> None:
    site = Site(moved(307, "/b"), document())
    await webhooks(site).fetch("http://app/a", "GET", {})
    assert str(site.requests[1].url) == "http://app/b"


async def test_three_redirects_are_followed_and_a_fourth_is_11215() -> None:
    three = Site(*[moved(302, f"/{n}") for n in range(3)], document())
    assert (await webhooks(three).fetch("http://app/", "POST", {})).url == "http://app/2"
    loop = Site(moved(302, "/again"))
    error = await failure(webhooks(loop))
    assert (error.code, error.url, len(loop.requests)) == (11215, "http://app/again", 4)


@pytest.mark.parametrize("location", ["ftp://app/", "file:///etc/passwd", "//h:99999/", "http://[", "javascript:x"])
async def test_a_redirect_to_what_cannot_be_requested_is_11100(location: str) -> None:
    site = Site(moved(302, location))
    assert (await failure(webhooks(site))).code == 11100
    assert len(site.requests) == 1


async def test_a_redirect_without_location_is_11251() -> None:
    assert (await failure(webhooks(Site(httpx.Response(302))))).code == 11251


async def test_credentials_are_sent_as_basic_and_neither_signed_nor_shown() -> None:
    site = Site(document(status=404))
    with capture_logs() as logs:
        error = await failure(webhooks(site, auth_token="tok"), "https://user:s3cret@app/v?token=t0p#ct=200")
    request = site.requests[0]
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"user:s3cret").decode()
    assert "s3cret" not in str(request.url)
    assert error.url == "https://app/v?token=t0p"
    shown = f"{error!r} {error} {logs}"
    assert "s3cret" not in shown
    assert "dXNlc" not in shown
    assert "t0p" not in str(logs)


@pytest.mark.parametrize("elsewhere", ["http://evil/", "http://app:8080/", "https://app/"])
async def test_credentials_never_follow_a_redirect_to_another_origin(elsewhere: str) -> None:
    site = Site(moved(307, elsewhere), document())
    await webhooks(site).fetch("http://user:pw@app/", "POST", {})
    assert "Authorization" in site.requests[0].headers
    assert "Authorization" not in site.requests[1].headers


async def test_credentials_hold_for_later_urls_of_the_same_origin_in_this_call_only() -> None:
    site = Site()
    client = WebhookClient(transport=httpx.MockTransport(site))
    one, two = (client.for_call(FACTS, lambda: "ringing") for _ in range(2))
    await one.fetch("http://user:pw@app/", "POST", {})
    await one.fetch("http://app/action", "POST", {})
    await one.fetch("http://other/action", "POST", {})
    await two.fetch("http://app/action", "POST", {})
    assert ["Authorization" in request.headers for request in site.requests] == [True, True, False, False]


async def test_cookies_are_kept_for_one_call_and_not_shared_with_another() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=DOCUMENT, headers={"Content-Type": "text/xml", "Set-Cookie": "id=7; Path=/"})

    site = Site(answer)
    client = WebhookClient(transport=httpx.MockTransport(site))
    one, two = (client.for_call(FACTS, lambda: "ringing") for _ in range(2))
    await one.fetch("http://app.example/", "POST", {})
    await one.fetch("http://app.example/b", "POST", {})
    await one.fetch("http://other.example/", "POST", {})
    await two.fetch("http://app.example/", "POST", {})
    assert [request.headers.get("Cookie") for request in site.requests] == [None, "id=7", None, None]


async def test_a_cookie_set_by_a_redirect_is_sent_to_its_target() -> None:
    site = Site(httpx.Response(302, headers={"Location": "/b", "Set-Cookie": "s=1"}), document())
    await webhooks(site).fetch("http://app.example/", "POST", {})
    assert site.requests[1].headers["Cookie"] == "s=1"


@pytest.mark.parametrize("cookie", ["id=\u00fc", "id=\u65e5", "=", ";;;", "a" * 5000, "id=1; Domain=.com", "id=1; Expires=never; Path=\\"])
async def test_an_odd_cookie_does_no_harm(cookie: str) -> None:
    headers = httpx.Headers([("Content-Type", "text/xml"), ("Set-Cookie", cookie)], encoding="utf-8")
    site = Site(httpx.Response(200, content=DOCUMENT, headers=headers))
    hooks = webhooks(site)
    for _ in range(2):
        await hooks.fetch("http://app.example/", "POST", {})
    assert len(site.requests) == 2


async def test_an_application_cannot_fill_the_memory_with_cookies() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        cookies = [("Set-Cookie", f"c{len(site.requests)}-{n}=v") for n in range(20)]
        return httpx.Response(200, content=DOCUMENT, headers=[("Content-Type", "text/xml"), *cookies])

    site = Site(answer)
    hooks = webhooks(site)
    for _ in range(10):
        await hooks.fetch("http://app.example/", "POST", {})
    assert hooks._session is not None
    assert hooks._session.cookies is not None
    assert len(hooks._session.cookies.jar) <= 70
