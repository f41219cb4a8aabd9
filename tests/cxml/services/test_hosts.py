"""Where requests may go: no URL, no redirect and no name leads elsewhere."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cxml.interpreter.ports import WebhookError
from cxml.services.hosts import is_host_allowed, is_public
from cxml.services.settings import WebhookSettings
from cxml.services.target import TargetError, parse_target
from cxml.services.webhook import WebhookClient
from tests.support.web import FACTS, web_server
from tests.support.web_site import Site, document, failure, moved, webhooks


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://app.example.com/v?x=@evil", "app.example.com"),
        ("https://APP.example.com:443/", "app.EXAMPLE.com:443"),
        ("http://app.example.com./", "app.example.com"),
        ("http://u:p@app:8000/v", "app:8000"),
        ("http://app:8000/v", "app"),
        ("http://a.example.com/", "*.example.com"),
        ("http://[::1]:8000/", "[::1]:8000"),
        ("http://b\u00fccher.example/", "xn--bcher-kva.example"),
        ("http://whatever/", "*"),
    ],
)
def test_a_host_that_matches_is_allowed(url: str, pattern: str) -> None:
    assert is_host_allowed(parse_target(url), ("nothing", pattern))


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://app.example.com@evil/", "app.example.com"),
        ("http://app.example.com:80@evil/", "app.example.com"),
        ("http://evil/app.example.com", "*app.example.com"),
        ("http://evil?app.example.com", "*app.example.com"),
        ("http://evil#app.example.com", "*app.example.com"),
        ("http://evil\\@app", "evil"),
        ("http://app.example.com.evil/", "app.example.com"),
        ("http://evilexample.com/", "*.example.com"),
        ("http://app:8001/", "app:8000"),
        ("http://app/", "app:8000"),
        ("https://app/", "app:80"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.1"),
        ("http://[::2]/", "[::1]"),
        ("http://app\u2024example/", "app.example.com"),
    ],
)
def test_no_spelling_makes_another_host_pass(url: str, pattern: str) -> None:
    try:
        target = parse_target(url)
    except TargetError:
        return
    assert not is_host_allowed(target, (pattern,)) or target.parsed.host == pattern


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_allowed_is_what_is_connected_to(before: str, after: str) -> None:
    try:
        target = parse_target(f"http://{before}app.example.com{after}")
    except TargetError:
        return
    if is_host_allowed(target, ("app.example.com",)):
        assert target.parsed.raw_host.decode().lower().rstrip(".") == "app.example.com"


def test_without_patterns_nothing_is_requested() -> None:
    assert not is_host_allowed(parse_target("http://app/"), ())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://evil/x", "//evil/x", "https://app.evil/", "http://app@evil/", "http://APP:81/"])
@pytest.mark.looptime
async def test_a_redirect_can_not_leave_the_hosts(status: int, location: str) -> None:
    site = Site(moved(302, "/on"), moved(status, location), document())
    with capture_logs() as logs:
        error = await failure(webhooks(site, allow_hosts=("app:80",)))
    assert (error.code, [request.url.path for request in site.requests]) == (11100, ["/v", "/on"])
    assert "[webhook] allow_hosts" in error.detail
    (line,) = [line for line in logs if line["event"] == "webhook_host_refused"]
    assert (line["call_sid"], line["log_level"]) == ("CA1", "warning")
    assert line["host"] in ("evil:80", "app.evil:443", "app:81")
    assert "allow_hosts" in line["remedy"]


@pytest.mark.looptime
async def test_a_forbidden_url_is_not_tried_again_and_learns_nothing() -> None:
    site = Site(document())
    error = await failure(webhooks(site, allow_hosts=("app",)), "http://u:s3cret@evil/v?token=t0p#rc=3&rp=all")
    assert (error.code, site.requests) == (11100, [])
    assert "s3cret" not in f"{error} {error.url}"


# -- private addresses: looked at when the connection is made -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
        "no address", "::1", "::", "fd00::1", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2002:808:808::", "2001:0:808:808::f7f7:f7f7", "2001:db8::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_found(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.example"])
async def test_no_name_and_no_address_leads_to_a_private_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def rebinding(name: str, *rest: object, **more: object) -> object:  # a name of the Internet whose server says 127.0.0.1
        return real("127.0.0.1" if name == "rebound.example" else name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with web_server() as server:
        url = f"http://{host}:{server.port}/v"
        async with WebhookClient(WebhookSettings(allow_private=False)) as client:
            with pytest.raises(WebhookError) as caught:
                await client.for_call(FACTS, lambda: "ringing").fetch(url, "POST", {})
        assert (caught.value.code, server.requests) == (11100, [])
        assert "allow_private" in caught.value.detail
        async with WebhookClient() as client:
            await client.for_call(FACTS, lambda: "ringing").fetch(url, "POST", {})
        assert len(server.requests) == 1
