"""The examination against a PBX that is a script over one socket, broken in ways in which neither a real one nor our own agent is."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cxml.daemon.build import credentials_of
from cxml.daemon.config import Config, Peer, Sip, Voice
from cxml.doctor.plan import make_plan
from cxml.doctor.report import Report
from cxml.doctor.run import examine
from sipua.message import Request, make_response, parse_message
from sipua.message.headers import Headers
from sipua.transport.memory import MemoryNetwork

pytestmark = pytest.mark.looptime

US, PBX = "10.0.0.1", "10.0.0.2"
SDP = f"v=0\r\no=- 1 1 IN IP4 {PBX}\r\ns=-\r\nc=IN IP4 {PBX}\r\nt=0 0\r\nm=audio 4000 {{protocol}} 0\r\na=inactive\r\n"
Answer = tuple[float, int, dict[str, str]]
"""Seconds after the request, status, header fields."""


@dataclass
class Script:
    """Answers each method as told; a method that isn't told about is not answered."""

    network: MemoryNetwork
    answers: dict[str, list[Answer]]
    notifies: list[tuple[float, str, int]] = field(default_factory=list)
    contact: str = f"<sip:pbx@{PBX}>"
    protocol: str = "RTP/AVP"
    took: list[str] = field(default_factory=list)

    async def open(self) -> None:
        self._udp = await self.network.host(PBX).open_udp(PBX, 5060, self)
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        self._udp.close()

    def on_datagram_error(self, error: OSError) -> None:
        """Not used by this network."""

    def on_datagram(self, data: bytes, source: tuple[str, int]) -> None:
        request = parse_message(data)
        if not isinstance(request, Request):
            return
        is_copy = f"{request.method} {request.cseq.number}" in self.took
        self.took.append(f"{request.method} {request.cseq.number}")
        for delay_s, status, headers in [] if is_copy else self.answers.get(request.method, []):
            self._loop.call_later(delay_s, self._answer, request, status, headers, source)
        if request.method == "REFER" and not is_copy:
            for number, (delay_s, state, status) in enumerate(self.notifies, 1):
                self._loop.call_later(delay_s, self._notify, request, number, state, status, source)

    def _answer(self, request: Request, status: int, headers: dict[str, str], to: tuple[str, int]) -> None:
        response = make_response(request, status, to_tag="" if status == 100 else "pbx")
        if request.method in ("INVITE", "REFER") and 100 < status < 300:
            response.headers.add("Contact", self.contact)
        if request.method == "INVITE" and 200 <= status < 300:
            response.set_body(SDP.format(protocol=self.protocol).encode(), "application/sdp")
        for name, value in headers.items():
            response.headers.set(name, value)
        self._udp.send(response.encode(), to)

    def _notify(self, refer: Request, number: int, state: str, status: int, to: tuple[str, int]) -> None:
        headers = Headers()
        headers.add("Via", f"SIP/2.0/UDP {PBX};branch=z9hG4bKn{number}-{refer.cseq.number}")
        headers.add("Max-Forwards", "70")
        headers.add("From", refer.headers.get("To") or "")
        headers.add("To", refer.headers.get("From") or "")
        headers.add("Call-ID", refer.call_id)
        headers.add("CSeq", f"{100 + number} NOTIFY")
        headers.add("Contact", self.contact)
        headers.add("Event", f"refer;id={refer.cseq.number}")
        headers.add("Subscription-State", state)
        assert refer.contact is not None
        request = Request("NOTIFY", refer.contact.uri.text, headers)
        request.set_body(f"SIP/2.0 {status} X\r\n".encode(), "message/sipfrag;version=2.0")
        self._udp.send(request.encode(), to)


OK: list[Answer] = [(0.0, 200, {})]
UP: dict[str, list[Answer]] = {"OPTIONS": OK, "INVITE": OK, "BYE": OK, "CANCEL": OK, "REFER": [(0.0, 202, {})]}
Change = Callable[[Script], None]


def answers(**changed: list[Answer]) -> Change:
    return lambda script: script.answers.update(changed)


def notifies(*steps: tuple[float, str, int], contact: str = "") -> Change:
    def change(script: Script) -> None:
        script.notifies = list(steps)
        script.contact = contact or script.contact

    return change


async def examined(change: Change, password: str = "", **options: object) -> Report:
    """Examine a PBX that is sound but for *change*."""
    peer = Peer.model_validate({"name": "pbx", "uri": f"sip:{PBX}", "username": "cxmld", "password": password})
    config = Config(sip=Sip(listen=(f"udp:{US}:5060",)), voice=Voice(url="http://app.test/"), peers=(peer,))
    network = MemoryNetwork(random.Random(1))
    script = Script(network, {name: list(steps) for name, steps in UP.items()})
    change(script)
    await script.open()
    options = {"has_audio": False, "extension": "100", "transfer_to": "200", **options}
    plan = make_plan(config, peer, credentials=credentials_of(peer), **options)
    before = asyncio.get_running_loop().time()
    try:
        report, _ = await examine(config, "pbx", plan, lambda _step, _result: None, network.host(US))
    finally:
        script.close()
    assert asyncio.get_running_loop().time() - before < plan.total_s + 5
    return report


ANSWERED = ((0.1, "active;expires=60", 180), (3.0, "terminated;reason=noresource", 200))
CHALLENGE = 'Digest realm="pbx", nonce="n", algorithm=MD4'

CASES: list[tuple[str, Change, list[str]]] = [
    ("nothing", notifies(*ANSWERED), []),
    ("the REFER is not answered", answers(REFER=[]), ["refer_unanswered"]),
    ("no NOTIFY comes", notifies(), ["no_notify"]),
    ("REFER makes no subscription", answers(REFER=[(0.0, 202, {"Refer-Sub": "false"})]), ["no_subscription"]),
    ("the subscription is short", notifies((0.1, "active;expires=5", 180), (3.0, "terminated", 200)), ["subscription_short"]),
    ("REFER is refused by a failing server", answers(REFER=[(0.0, 500, {})]), ["refer_refused"]),
    ("REFER is not implemented", answers(REFER=[(0.0, 501, {})]), ["transfer_forbidden"]),
    ("the report ends without a result", notifies((0.1, "terminated", 100)), ["transfer_unreported"]),
    ("the target is unknown", notifies((0.1, "terminated", 404)), ["target_unknown"]),
    (
        "Allow lacks REFER",
        answers(OPTIONS=[(0.0, 200, {"Allow": "INVITE, ACK, BYE"})], REFER=[(0.0, 405, {})]),
        ["no_refer_in_allow", "transfer_forbidden"],
    ),
    ("OPTIONS is not answered", answers(OPTIONS=[]), ["no_answer"]),
    ("INVITE is not answered", answers(INVITE=[]), ["no_answer"]),
    ("INVITE never gets a final answer", answers(INVITE=[(0.0, 180, {})]), ["not_taken"]),
    ("a session timer is too short", answers(INVITE=[(0.0, 422, {"Min-SE": "99999"})] * 3), ["timer_required"]),
    ("an extension is demanded", answers(INVITE=[(0.0, 421, {"Require": "gruu"})]), ["extension_required"]),
    ("audio is encrypted", lambda script: setattr(script, "protocol", "RTP/SAVP"), ["srtp_required"]),
    ("the 200 is repeated", answers(INVITE=[(0.0, 200, {}), (0.5, 200, {}), (1.5, 200, {}), (3.5, 200, {})]), ["ack_lost", "no_notify"]),
]


@pytest.mark.parametrize(("name", "change", "expected"), CASES, ids=[case[0].replace(" ", "-") for case in CASES])
async def test_a_broken_pbx_is_told_what_is_broken(name: str, change: Change, expected: list[str]) -> None:
    del name
    report = await examined(change)
    assert [item.code for item in report.findings if item.is_fault] == expected
    assert report.fault == ""


@pytest.mark.parametrize(
    ("register", "expected"),
    [
        ([(0.0, 401, {"WWW-Authenticate": CHALLENGE})], ["challenge_unusable"]),
        ([(0.0, 401, {"WWW-Authenticate": CHALLENGE.replace("MD4", "MD5")})], ["wrong_password"]),
        ([(0.0, 403, {})], ["forbidden"]),
        ([(0.0, 404, {})], ["unknown_user"]),
        ([(0.0, 400, {})], []),
        ([(0.0, 503, {})], ["register_failed"]),
        ([], ["no_answer"]),
        (OK, []),
    ],
)
async def test_registrars_that_refuse_are_told_apart(register: list[Answer], expected: list[str]) -> None:
    report = await examined(answers(REGISTER=register), password="open-sesame", extension="", transfer_to="")
    assert [item.code for item in report.findings if item.is_fault] == expected
    assert "open-sesame" not in repr(report)
