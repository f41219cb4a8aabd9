"""A registration at work against a registrar that a test plays."""

import asyncio
import itertools
import logging
from collections.abc import Callable

import pytest

from sipua.errors import RegistrationError, TransportError
from sipua.message import Request, Response, make_response
from sipua.usage.registration import Registration, RegistrationSettings, RegistrationState

pytestmark = pytest.mark.looptime

PBX = "sip:pbx.example:5080;transport=tcp"
SETTINGS = RegistrationSettings(PBX, "sip:cxmld@pbx.example", "sip:cxmld@192.0.2.7:5060", user_agent="test")


class Fixed:
    """Names that a test can foresee; the longest of all waits."""

    def first_cseq(self) -> int:
        return 100

    def new_tag(self) -> str:
        return "ours"

    def new_call_id(self) -> str:
        return "one-call-id"

    def uniform(self, low: float, high: float) -> float:
        return high


Reply = Response | Exception | int | None


class Registrar:
    """Answers with what *replies* says, None: never; then 200 for ever. ``bound`` is the expiry of the binding that it has."""

    def __init__(self, *replies: Reply, delay_s: float = 0.05) -> None:
        self.replies = list(replies)
        self.delay_s = delay_s
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.bound = 0
        self.under_way = 0

    async def send(self, request: Request) -> Response:
        assert self.under_way == 0, "a second REGISTER before the end of the first"
        self.requests.append(request)
        self.times.append(round(asyncio.get_running_loop().time(), 3))
        reply = self.replies.pop(0) if self.replies else 200
        self.under_way += 1
        try:
            if reply is None:
                await asyncio.Event().wait()
            await asyncio.sleep(self.delay_s)
        finally:
            self.under_way -= 1
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Response):
            return reply
        response = make_response(request, reply or 500, to_tag="theirs")
        if response.is_success:
            self.bound = request.expires or 0
            response.headers.add("Contact", request.headers.get("Contact") or "")
        return response

    def register(self, on_state: Callable[[RegistrationState], None] | None = None) -> Registration:
        return Registration(self.send, Fixed(), SETTINGS, on_state)


def with_headers(status: int, *headers: tuple[str, str]) -> Response:
    response = Response(status)
    for name, value in headers:
        response.headers.add(name, value)
    return response


async def test_it_registers_keeps_the_binding_and_removes_it() -> None:
    registrar = Registrar()
    states: list[RegistrationState] = []
    registration = registrar.register(states.append)
    await registration.start()
    await registration.wait_registered(1)
    assert registration.is_registered
    assert registrar.bound == 300
    await asyncio.sleep(1000)
    assert registration.is_registered
    await registration.stop()
    assert registrar.bound == 0
    assert registration.state is RegistrationState.ENDED
    assert states == ["registering", "registered", "unregistering", "ended"]
    assert registrar.times == [0, 240.05, 480.1, 720.15, 960.2, 1000.05]


async def test_a_register_is_built_by_the_rules() -> None:
    registrar = Registrar()
    registration = registrar.register()
    await registration.start()
    await registration.wait_registered()
    await registration.stop()
    first, last = registrar.requests
    assert first.uri == "sip:pbx.example:5080;transport=tcp"
    assert first.headers.get("To") == "<sip:cxmld@pbx.example>"
    assert first.headers.get("From") == "<sip:cxmld@pbx.example>;tag=ours"
    assert first.headers.get("Contact") == "<sip:cxmld@192.0.2.7:5060>;expires=300"
    assert (first.expires, last.expires) == (300, 0)
    assert last.headers.get("Contact") == "<sip:cxmld@192.0.2.7:5060>;expires=0"
    assert first.headers.get("User-Agent") == "test"
    assert [request.call_id for request in registrar.requests] == ["one-call-id"] * 2
    assert [request.cseq for request in registrar.requests] == [(101, "REGISTER"), (102, "REGISTER")]
    assert "Via" not in first.headers


async def test_numbers_taken_for_challenges_are_not_used_again() -> None:
    registrar = Registrar()
    registration = registrar.register()
    await registration.start()
    assert registration.next_cseq() == 101
    await registration.wait_registered()
    assert registrar.requests[0].cseq.number == 102
    await registration.stop()


async def test_a_registrar_uri_loses_its_user_part() -> None:
    registrar = Registrar()
    settings = RegistrationSettings("sips:cxmld@pbx.example", "sips:cxmld@pbx.example", '"Us" <sips:cxmld@192.0.2.7>;q=0.5;expires=9')
    registration = Registration(registrar.send, Fixed(), settings)
    await registration.start()
    await registration.wait_registered()
    await registration.stop()
    assert registrar.requests[0].uri == "sips:pbx.example"
    assert registrar.requests[0].headers.get("Contact") == '"Us" <sips:cxmld@192.0.2.7>;q=0.5;expires=300'
    assert "User-Agent" not in registrar.requests[0].headers


@pytest.mark.parametrize("status", [401, 403, 404, 407])
async def test_a_refusal_is_reported_logged_and_tried_again_every_five_minutes(status: int, caplog: pytest.LogCaptureFixture) -> None:
    registrar = Registrar(status, status)
    states: list[RegistrationState] = []
    registration = registrar.register(states.append)
    with caplog.at_level(logging.INFO, "sipua.registration"):
        await registration.start()
        with pytest.raises(RegistrationError) as caught:
            await registration.wait_registered(1)
        assert caught.value.status == status
        assert registration.failure is not None
        assert registration.failure[0] == status
        await asyncio.sleep(601)
    assert registrar.times == [0, 300.05, 600.1]
    assert states == ["registering", "refused", "registered"]
    assert registration.failure is None
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    await registration.stop()


async def test_refreshes_and_repeated_failures_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    registrar = Registrar(200, 200, 200, 503, 503, 503)
    with caplog.at_level(logging.INFO, "sipua.registration"):
        registration = registrar.register()
        await registration.start()
        await asyncio.sleep(2000)
        await registration.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] if "not" in line else line for line in lines] == [
        "sip:cxmld@pbx.example: registering",
        "sip:cxmld@pbx.example is registered for 300 s",
        "sip",
        "sip:cxmld@pbx.example is registered for 300 s",
        "sip:cxmld@pbx.example: unregistering",
        "sip:cxmld@pbx.example: ended",
    ]


@pytest.mark.parametrize("reply", [503, 408, 500, TransportError("no route"), ValueError("a fault of ours")], ids=repr)
async def test_a_failure_backs_off_and_tries_again(reply: Reply) -> None:
    registrar = Registrar(reply, reply, reply)
    registration = registrar.register()
    await registration.start()
    await registration.wait_registered(60)
    assert registrar.times == [0, 4.05, 12.1, 28.15]
    await registration.stop()


async def test_retry_after_is_honoured() -> None:
    registrar = Registrar(with_headers(503, ("Retry-After", "120")))
    registration = registrar.register()
    await registration.start()
    await asyncio.sleep(1)
    assert registration.state is RegistrationState.WAITING
    assert registration.failure == (503, "Service Unavailable")
    await registration.wait_registered(200)
    assert registrar.times == [0, 132.05]
    await registration.stop()


async def test_a_423_is_answered_at_once_with_the_longer_expiry() -> None:
    registrar = Registrar(with_headers(423, ("Min-Expires", "600")))
    registration = registrar.register()
    await registration.start()
    await registration.wait_registered(1)
    assert [request.expires for request in registrar.requests] == [300, 600]
    assert registrar.requests[1].headers.get("Contact") == "<sip:cxmld@192.0.2.7:5060>;expires=600"
    await registration.stop()


async def test_a_redirection_is_followed_for_this_time() -> None:
    registrar = Registrar(with_headers(302, ("Contact", "<sip:other.example>")))
    registration = registrar.register()
    await registration.start()
    await registration.wait_registered(1)
    await asyncio.sleep(300)
    uris = [request.uri for request in registrar.requests]
    assert uris == [PBX, "sip:other.example", PBX]
    await registration.stop()


async def test_the_service_route_is_that_of_the_last_success() -> None:
    routes = with_headers(200, ("Service-Route", "<sip:a.example;lr>, <sip:b.example;lr>"), ("Service-Route", "<sip:c.example;lr>"))
    registrar = Registrar(routes)
    registration = registrar.register()
    await registration.start()
    await registration.wait_registered(1)
    assert list(registration.service_route) == ["<sip:a.example;lr>", "<sip:b.example;lr>", "<sip:c.example;lr>"]
    await asyncio.sleep(300)
    assert len(registration.service_route) == 0
    await registration.stop()


async def test_a_lost_connection_is_mended_at_once() -> None:
    registrar = Registrar()
    registration = registrar.register()
    registration.refresh()
    assert not registrar.requests
    await registration.start()
    registration.refresh()
    await registration.wait_registered()
    registration.refresh()
    registration.refresh()
    await asyncio.sleep(1)
    assert len(registrar.requests) == 2
    await registration.stop()


async def test_stop_waits_for_the_register_under_way_and_then_removes_the_binding() -> None:
    registrar = Registrar(delay_s=1.0)
    registration = registrar.register()
    await registration.start()
    await asyncio.sleep(0.5)
    await registration.stop()
    assert [request.expires for request in registrar.requests] == [300, 0]
    assert registrar.bound == 0
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


@pytest.mark.parametrize("replies", [(None,), (200, None)], ids=["while registering", "at the removal"])
async def test_stop_keeps_its_time_limit_when_the_registrar_is_silent(replies: tuple[Reply, ...]) -> None:
    registrar = Registrar(*replies)
    registration = registrar.register()
    await registration.start()
    await asyncio.sleep(1)
    await registration.stop()
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    assert registration.state is RegistrationState.ENDED
    assert registrar.under_way == 0
    assert len(asyncio.all_tasks()) == 1


async def test_stop_before_start_and_stop_twice_end_at_once() -> None:
    registrar = Registrar()
    registration = registrar.register()
    await registration.stop()
    await registration.stop()
    await registration.start()
    assert registration.state is RegistrationState.ENDED
    assert not registrar.requests
    with pytest.raises(RegistrationError):
        await registration.wait_registered(1)


async def test_waiting_for_a_silent_registrar_times_out() -> None:
    registration = Registrar(None).register()
    await registration.start()
    with pytest.raises(TimeoutError):
        await registration.wait_registered(5)
    await registration.stop()


async def test_a_fault_in_the_callback_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(state: RegistrationState) -> None:
        raise ValueError(state)

    registrar = Registrar()
    registration = registrar.register(fail)
    await registration.start()
    await registration.wait_registered(1)
    await registration.stop()
    assert registrar.bound == 0


async def test_the_reason_of_a_registrar_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    registration = Registrar(Response(403, "No\x1b[2J\x07way")).register()
    await registration.start()
    await asyncio.sleep(1)
    assert registration.failure == (403, "No\\x1b[2J\\x07way")
    assert "\x1b" not in caplog.text
    await registration.stop()


async def test_a_registrar_that_fails_at_random_never_gets_two_registers_at_once() -> None:
    replies: list[Reply] = [503, 200, 403, 408, 200, 423, 302, TransportError("reset")]
    registrar = Registrar(*itertools.chain.from_iterable(itertools.permutations(replies, 3)), delay_s=0.5)
    registration = registrar.register()
    await registration.start()
    for _ in range(2000):
        await asyncio.sleep(7.3)
        registration.refresh()
    await registration.stop()
    numbers = [request.cseq.number for request in registrar.requests]
    assert numbers == list(range(101, 101 + len(numbers)))
    assert registration.state is RegistrationState.ENDED


@pytest.mark.parametrize(
    ("registrar", "aor", "contact", "expires_s"),
    [
        ("pbx", "sip:a@pbx", "sip:a@b", 300),
        ("sip:pbx", "tel:+491", "sip:a@b", 300),
        ("sip:pbx", "sip:a@pbx", "<sip:a@b", 300),
        ("sip:pbx", "sip:a@pbx", "*", 300),
        ("sip:pbx", "sip:a@pbx", "sip:a@b", 0),
    ],
)
async def test_settings_that_make_no_sense_are_refused(registrar: str, aor: str, contact: str, expires_s: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        RegistrationSettings(registrar, aor, contact, expires_s)
