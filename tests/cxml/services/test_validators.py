"""Real requests over a real socket, judged by the official request validators of Twilio and SignalWire.

What the validators get is what a web framework gives them: the URL rebuilt from Host and request target, and the decoded form.
"""

import pytest

from cxml.services.parameters import CallFacts
from cxml.services.settings import WebhookSettings
from cxml.services.webhook import WebhookClient
from tests.support.signalwire_venv import Verify
from tests.support.web import Received, reply, web_server

RequestValidator = pytest.importorskip("twilio.request_validator").RequestValidator

TOKEN = "0123456789abcdef"
SIGNING_KEY = "PSK_ä-b~c"
ODD = CallFacts(
    "CA1",
    "AC1",
    from_='"Jörg & Söhne" <sip:+49@pbx;tag=a=b>',
    to="sip:100@[2001:db8::1]:5060;x=%40",
    caller_name="日本 + 語 %2B '\"<>\\ \t",
    sip_headers={"X-Odd_!*'": "a=b&c+d  e", "X-Empty": ""},
)
PATHS = [
    "/",
    "",
    "/voice",
    "/voice?",
    "/voice?a=1&b=2",
    "/voice?b=2&a=1&a=1&a=0",
    "/voice?x=%7E%20+%2B&y=ü&z='(*)!",
    "/a%2fb/%7Euser/ü;p=1?q=//x:y@z",
    "/a,b;c/d@e:f$g?h[]=1&i={j}|k^l`m",
    "/v?empty=&flag&=x",
    "/v?long=" + "x" * 3000,
    "/v#ct=2000&rt=3000",
]


async def received_from(path: str, method: str, *, host: str = "127.0.0.1") -> list[Received]:
    async with web_server(lambda _: reply(), host) as server:
        settings = WebhookSettings(auth_token=TOKEN, signing_key=SIGNING_KEY)
        async with WebhookClient(settings) as client:
            shown = f"[{host}]" if ":" in host else host
            hooks = client.for_call(ODD, lambda: "ringing")
            await hooks.fetch(f"http://user:pw@{shown}:{server.port}{path}", method, {"ReferCallStatus": "no-answer"})
    return server.requests


def is_valid_for_twilio(request: Received) -> bool:
    return bool(RequestValidator(TOKEN).validate(request.url, request.form, request.headers["x-twilio-signature"]))


def check_for_signalwire(request: Received) -> dict[str, object]:
    given = request.headers["x-signalwire-signature"]
    return {"key": SIGNING_KEY, "url": request.url, "params": request.form, "signature": given}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", PATHS)
async def test_the_validator_of_twilio_accepts_every_request(path: str, method: str) -> None:
    [request] = await received_from(path, method)
    assert is_valid_for_twilio(request)
    assert bool(request.form) == (method == "POST")


async def test_the_validator_of_signalwire_accepts_every_request(signalwire_validates: Verify) -> None:
    requests = [request for path in PATHS for method in ("POST", "GET") for request in await received_from(path, method)]
    assert signalwire_validates([check_for_signalwire(request) for request in requests]) == [True] * len(requests)


async def test_a_forged_request_is_refused_by_both(signalwire_validates: Verify) -> None:
    [request] = await received_from("/voice", "POST")
    forged = {**request.form, "ReferCallStatus": "in-progress"}
    assert not RequestValidator(TOKEN).validate(request.url, forged, request.headers["x-twilio-signature"])
    assert signalwire_validates([{**check_for_signalwire(request), "params": forged}]) == [False]


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_ipv6_hosts_validate_with_their_port(method: str, signalwire_validates: Verify) -> None:
    [request] = await received_from("/voice?a=b", method, host="::1")
    assert request.headers["host"].startswith("[::1]:")
    assert is_valid_for_twilio(request)
    assert signalwire_validates([check_for_signalwire(request)]) == [True]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Moved", "308 Moved"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_every_hop_of_a_redirect_validates(status: str, method: str, signalwire_validates: Verify) -> None:
    def answer(request: Received) -> bytes:
        if request.target.startswith("/final"):
            return reply()
        return reply(b"", "Location: /final/ü?x=%7e&y=1", status=status)

    async with web_server(answer) as server, WebhookClient(WebhookSettings(auth_token=TOKEN, signing_key=SIGNING_KEY)) as client:
        await client.for_call(ODD, lambda: "ringing").fetch(f"{server.base}/first", method, {})
    assert [is_valid_for_twilio(request) for request in server.requests] == [True, True]
    assert signalwire_validates([check_for_signalwire(request) for request in server.requests]) == [True, True]


async def test_a_server_reads_the_parameters_back_unchanged() -> None:
    [request] = await received_from("/voice", "POST")
    assert request.form["From"] == ODD.from_
    assert request.form["CallerName"] == ODD.caller_name
    assert request.form["SipHeader_X-Odd_!*'"] == "a=b&c+d  e"
    assert "user" not in request.url
