"""What a call sends and what it accepts."""

import httpx
import pytest

from cxml.interpreter.ports import FetchedDocument, WebhookError
from cxml.services.parameters import CallFacts
from cxml.services.settings import WebhookSettings
from cxml.services.signing import signature
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS
from tests.support.web_site import Site, document, failure, webhooks

pytestmark = pytest.mark.looptime


async def test_a_post_carries_the_parameters_in_its_form_and_leaves_the_query_alone() -> None:
    site = Site()
    fetched = await webhooks(site).fetch("http://app/v?q=1", "POST", {"ReferCallStatus": "busy"})
    request = site.requests[0]
    assert fetched == FetchedDocument("http://app/v?q=1", DOCUMENT, "text/xml")
    assert (request.method, str(request.url)) == ("POST", "http://app/v?q=1")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert site.forms()[0] == {
        "CallSid": "CA1",
        "AccountSid": "AC1",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "From": "sip:alice@pbx.example",
        "To": "sip:100@10.0.0.1",
        "SipCallId": "abc@10.0.0.9",
        "CallStatus": "in-progress",
        "ReferCallStatus": "busy",
    }


async def test_a_get_carries_them_after_the_existing_query_and_has_no_body() -> None:
    site = Site()
    fetched = await webhooks(site, CallFacts("CA1", "AC1", "a b", "t")).fetch("http://app/v?q=1", "get", {"X": "ü"})
    request = site.requests[0]
    assert request.method == "GET"
    assert request.url.raw_path.startswith(b"/v?q=1&CallSid=CA1&AccountSid=AC1")
    assert request.url.params["From"] == "a b"
    assert request.url.params["X"] == "ü"
    assert request.content == b""
    assert "Content-Type" not in request.headers
    assert fetched.url == "http://app/v?q=1"


async def test_the_call_status_is_asked_for_at_each_request_and_extra_parameters_win() -> None:
    site = Site()
    states = iter(["ringing", "in-progress", "completed"])
    client = WebhookClient(transport=httpx.MockTransport(site))
    hooks = client.for_call(FACTS, lambda: next(states))
    await hooks.fetch("http://app/", "POST", {})
    await hooks.fetch("http://app/", "POST", {})
    await hooks.fetch("http://app/", "POST", {"CallStatus": "busy"})
    assert [form["CallStatus"] for form in site.forms()] == ["ringing", "in-progress", "busy"]


async def test_a_parameter_of_the_call_that_a_verb_replaces_is_sent_once_and_only_in_that_request() -> None:
    site = Site()
    hooks = webhooks(site, auth_token="tok")
    await hooks.fetch("http://app/", "POST", {"A": "1"})
    await hooks.fetch("http://app/", "POST", {"From": "sip:bob@b", "A": "2"})
    await hooks.fetch("http://app/", "POST", {"A": "3"})
    bodies = [request.content.decode() for request in site.requests]
    assert [body.count("From=") for body in bodies] == [1, 1, 1]
    assert [form["From"] for form in site.forms()] == ["sip:alice@pbx.example", "sip:bob@b", "sip:alice@pbx.example"]
    for request, form in zip(site.requests, site.forms(), strict=True):
        assert request.headers["X-Twilio-Signature"] == signature("tok", "http://app/", form)


async def test_the_account_of_the_settings_stands_in_for_an_unknown_one() -> None:
    site = Site()
    await webhooks(site, CallFacts("CA1"), account_sid="AC-set").fetch("http://app/", "POST", {})
    assert site.forms()[0]["AccountSid"] == "AC-set"


async def test_another_method_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="GET or POST"):
        await webhooks(Site()).fetch("http://app/", "PUT", {})


async def test_both_signatures_cover_the_url_as_sent_and_the_form() -> None:
    site = Site()
    hooks = webhooks(site, auth_token="tok", signing_key="key")
    await hooks.fetch("http://u:p@app:80/v?q=1#ct=500", "POST", {})
    request = site.requests[0]
    assert request.headers["X-Twilio-Signature"] == signature("tok", "http://app/v?q=1", site.forms()[0])
    assert request.headers["X-SignalWire-Signature"] == signature("key", "http://app/v?q=1", site.forms()[0])


async def test_without_keys_nothing_is_signed() -> None:
    site = Site()
    await webhooks(site).fetch("http://app/", "POST", {})
    assert not [name for name in site.requests[0].headers if "signature" in name]


async def test_a_call_taken_up_again_goes_on_counting() -> None:
    site = Site()
    client = WebhookClient(transport=httpx.MockTransport(site))
    await client.for_call(FACTS, lambda: "x", first_request=7).fetch("http://app/", "POST", {})
    assert site.requests[0].headers["X-Cxmld-Idempotency-Key"] == "CA1:7"


@pytest.mark.parametrize(
    "content_type",
    ["text/xml", "application/xml; charset=utf-8", "Text/HTML", "application/cxml+xml", "image/svg+xml ; q=1"],
)
async def test_xml_content_types_are_accepted_and_the_bytes_untouched(content_type: str) -> None:
    body = "<Response>ü</Response>".encode("latin-1")
    fetched = await webhooks(Site(document(body, content_type))).fetch("http://app/", "POST", {})
    assert (fetched.body, fetched.content_type) == (body, content_type)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "+xml", "text/xmlx", "a/+xml", "audio/wav", "\x07"])
async def test_any_other_content_type_is_12300(content_type: str) -> None:
    assert (await failure(webhooks(Site(document(content_type=content_type))))).code == 12300


@pytest.mark.parametrize(("status", "content_type"), [(204, ""), (200, ""), (200, "application/json"), (202, "text/plain")])
async def test_an_answer_without_a_body_is_an_empty_document(status: int, content_type: str) -> None:
    fetched = await webhooks(Site(document(b"", content_type, status))).fetch("http://app/", "POST", {})
    assert fetched.body == b""


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 502, 503, 300, 304])
async def test_an_error_status_is_11217(status: int) -> None:
    error = await failure(webhooks(Site(document(status=status))))
    assert (error.code, error.detail) == (11217, f"status {status}")


async def test_a_body_over_the_limit_is_11750() -> None:
    assert (await failure(webhooks(Site(document(b"x" * 101)), max_body_bytes=100))).code == 11750


@pytest.mark.parametrize("url", ["", "/relative", "ftp://u:pw@h/", "http://", "http://h:x/"])
async def test_a_url_that_cannot_be_requested_is_11100(url: str) -> None:
    site = Site()
    error = await failure(webhooks(site), url)
    assert error.code == 11100
    assert "pw" not in str(error)
    assert site.requests == []


async def test_a_get_that_grows_too_long_is_11100() -> None:
    with pytest.raises(WebhookError) as caught:
        await webhooks(Site()).fetch("http://app/", "GET", {"Long": "x" * 70_000})
    assert caught.value.code == 11100


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (httpx.ConnectTimeout("x"), 11200),
        (httpx.PoolTimeout("x"), 11200),
        (httpx.ReadTimeout("x"), 11200),
        (httpx.ConnectError("refused"), 11200),
        (httpx.ReadError("reset"), 11200),
        (httpx.RemoteProtocolError("x"), 11251),
        (httpx.UnsupportedProtocol("x"), 11100),
    ],
)
async def test_what_a_transport_raises_has_its_code(raised: Exception, code: int) -> None:
    assert (await failure(webhooks(Site(raised)))).code == code


def test_secrets_are_not_in_the_repr_of_the_settings() -> None:
    assert "tok" not in repr(WebhookSettings(auth_token="tok-secret", signing_key="key-tok"))
