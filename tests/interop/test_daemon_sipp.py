"""Callers that do what no Asterisk does, by SIPp: odd but legal (and some illegal) answers, orders and moments.

As with the transfers by Asterisk, all cases run beside each other against one daemon, and each test looks at one record.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from pydantic import SecretStr

from cxml.daemon.config import Peer
from sipua.message import Request
from tests.support import sipp as sipp_runner
from tests.support.daemon import DaemonUnderTest, action_parameters, daemon_under_test
from tests.support.peers import INTEROP
from tests.support.sipp_steps import (
    KEEP,
    cancel,
    hung_up_on,
    invite,
    notify,
    opened,
    optional,
    pause,
    receive,
    refuse_ack,
    request,
    respond,
    respond_later,
    scenario,
    sdp,
)

LIMIT_S = 60.0
TRANSFERRED = "transferred in-progress 202 200"
BUSY = "busy busy 202 486"
CHALLENGE = 'Digest realm="pbx", nonce="7f3a", algorithm=MD5, qop="auth"'
VERIFY = '<verifyauth assign_to="valid" username="cxmld" password="secret"/>'
REFER = "<Refer action='done/{user}'><Sip>sip:target@127.0.0.1:9</Sip></Refer>"
GATE_S = 0.5
"""How long the web application takes to answer in the cases that are about the time before the document."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario and what the action request has to say of it, "" for none. ``labels`` must have passed in this order."""

    name: str
    says: str
    scenario: str
    tcp: bool = False
    document: str = REFER
    labels: tuple[str, ...] = ()
    is_slow_application: bool = False

    @property
    def user(self) -> str:
        """The user that is called."""
        return self.name.lower().replace(" ", "-")


def refer_case(name: str, says: str, *steps: str | list[str], keep: str = "", tcp: bool = False, labels: tuple[str, ...] = ()) -> Case:
    """A call that is answered, gets a REFER (an action can *keep* its headers), goes through *steps*, and is hung up on by the daemon."""
    return Case(name, says, scenario(opened(), receive("REFER", action=keep), *steps, hung_up_on()), tcp=tcp, labels=labels)


def challenged(status: str, header: str, verify: bool = True) -> list[str]:
    """Challenge the REFER and go on to 202 only if the credentials are right; SIPp can *verify* Authorization, not Proxy-Authorization."""
    repeated = receive("REFER", action=VERIFY, attributes='test="valid" next="right"') if verify else receive("REFER")
    wrong = [respond("403 Wrong credentials"), '<label id="right"/>'] if verify else []
    return [respond(status, f"{header}: {CHALLENGE}"), repeated, *wrong]


SIPP_CASES = [
    refer_case("accepted and answered", TRANSFERRED, respond("202 Accepted"), notify(2, "200 OK"), receive("200")),
    refer_case("accepted and answered over TCP", TRANSFERRED, respond("202 Accepted"), notify(2, "200 OK"), receive("200"), tcp=True),
    refer_case(
        "challenged by 401",
        TRANSFERRED,
        challenged("401 Unauthorized", "WWW-Authenticate"),
        respond("202 Accepted"),
        notify(2, "200 OK"),
        receive("200"),
    ),
    refer_case(
        "challenged by 407",
        BUSY,
        challenged("407 Proxy Authentication Required", "Proxy-Authenticate", verify=False),
        respond("202 Accepted"),
        notify(2, "486 Busy Here"),
        receive("200"),
        tcp=True,
    ),
    refer_case(
        "challenged again and again",
        "unauthenticated failed 401 -",
        respond("401 Unauthorized", f"WWW-Authenticate: {CHALLENGE}"),
        receive("REFER"),
        respond("401 Unauthorized", f"WWW-Authenticate: {CHALLENGE}"),
    ),
    refer_case("accepted by 200", "transferred in-progress 200 200", respond("200 OK"), notify(2, "200 OK"), receive("200")),
    refer_case("accepted without a subscription", "no_subscription - 202 -", respond("202 Accepted", "Refer-Sub: false")),
    refer_case("refused by 405", "rejected failed 405 -", respond("405 Method Not Allowed", "Allow: INVITE, ACK, BYE")),
    refer_case("redirected", "rejected failed 302 -", respond("302 Moved Temporarily", "Contact: <sip:elsewhere@192.0.2.1>")),
    refer_case("forgotten by the peer", "call_lost failed 481 -", respond("481 Call/Transaction Does Not Exist")),
    refer_case(
        "pending and then accepted",
        BUSY,
        respond("491 Request Pending"),
        receive("REFER"),
        respond("202 Accepted"),
        notify(2, "486 Busy Here"),
        receive("200"),
    ),
    refer_case("notified before the answer", BUSY, notify(2, "486 Busy Here"), receive("200"), respond_later("202 Accepted"), keep=KEEP),
    refer_case(
        "notified before the answer over TCP",
        TRANSFERRED,
        notify(2, "200 OK"),
        receive("200"),
        respond_later("202 Accepted"),
        keep=KEEP,
        tcp=True,
    ),
    refer_case(
        "progress and then the end",
        "no_answer no-answer 202 487",
        respond("202 Accepted"),
        notify(2, "100 Trying", "active;expires=60"),
        receive("200"),
        notify(3, "180 Ringing", "active;expires=59"),
        receive("200"),
        notify(4, "487 Request Terminated"),
        receive("200"),
    ),
    refer_case("ended without a body", "unknown failed 202 -", respond("202 Accepted"), notify(2, "", body=""), receive("200")),
    refer_case(
        "a report with bare line feeds",
        BUSY,
        respond("202 Accepted"),
        notify(2, "", body=f'[file name="{INTEROP}/sipp/line-feeds.sipfrag"]'),
        receive("200"),
    ),
    refer_case(
        "the id of the subscription",
        TRANSFERRED,
        respond("202 Accepted"),
        notify(2, "404 Not Found", event="refer;id=999"),
        receive("481"),
        notify(3, "404 Not Found", event="presence"),
        receive("489"),
        notify(4, "200 OK"),
        receive("200"),
    ),
    refer_case(
        "a junk report and then a good one",
        BUSY,
        respond("202 Accepted"),
        notify(2, "", "active;expires=60", body="<html/>"),
        receive("400"),
        notify(3, "486 Busy Here"),
        receive("200"),
    ),
    Case(
        "BYE and then the report",
        TRANSFERRED,
        scenario(
            opened(),
            receive("REFER"),
            respond("202 Accepted"),
            request("BYE", 2),
            receive("200"),
            pause(500),
            notify(3, "200 OK"),
            receive("200"),
        ),
    ),
    Case(
        "BYE and no report",
        "peer_hangup canceled 202 -",
        scenario(opened(), receive("REFER"), respond("202 Accepted"), request("BYE", 2), receive("200")),
    ),
    Case(
        "BYE crosses the REFER",
        "call_lost failed 481 -",
        scenario(
            opened(),
            receive("REFER", action=KEEP),
            request("BYE", 2),
            receive("200"),
            respond_later("481 Call/Transaction Does Not Exist"),
        ),
    ),
    Case(
        "BYE crosses a REFER that is accepted",
        TRANSFERRED,
        scenario(
            opened(),
            receive("REFER", action=KEEP),
            request("BYE", 2),
            receive("200"),
            respond_later("202 Accepted"),
            notify(3, "200 OK"),
            receive("200"),
        ),
    ),
    Case(
        "BYE before the REFER",  # and before the ACK, which the REFER waits for
        "call_lost failed - -",
        scenario(invite(), *optional("100", "180"), receive("200"), request("BYE", 2), receive("200"), request("ACK", 1)),
    ),
    Case(
        "cancelled while the application thinks",
        "",
        scenario(invite(), *optional("100"), receive("180"), cancel(3), receive("200"), receive("487"), refuse_ack()),
        is_slow_application=True,
    ),
    Case(
        "an INVITE without an offer",
        TRANSFERRED,
        scenario(
            invite(body=""),
            *optional("100", "180"),
            receive("200"),
            request("ACK", 1, body=sdp()),
            receive("REFER"),
            respond("202 Accepted"),
            notify(2, "200 OK"),
            receive("200"),
            hung_up_on(),
        ),
    ),
    Case(
        "no answer in the ACK",
        "",
        scenario(invite(body=""), *optional("100", "180"), receive("200"), request("ACK", 1), hung_up_on()),
    ),
    refer_case(
        "a hold while the transfer runs",
        TRANSFERRED,
        respond("202 Accepted"),
        request("INVITE", 2, body=sdp("sendonly", 2)),
        *optional("100"),
        receive("200"),
        request("ACK", 2),
        request("OPTIONS", 3),
        receive("200"),
        request("INFO", 4, body="Signal=5\nDuration=160\n", content_type="application/dtmf-relay"),
        receive("200"),
        request("UPDATE", 5),
        receive("200"),
        request("INVITE", 6, body=sdp("sendrecv", 3)),
        *optional("100"),
        receive("200"),
        request("ACK", 6),
        notify(7, "200 OK"),
        receive("200"),
    ),
    Case(
        "two proxies between us",
        TRANSFERRED,
        scenario(
            opened("Record-Route: <sip:[local_ip]:[local_port];lr;hop=near>", "Record-Route: <sip:192.0.2.7:5060;lr;hop=far>"),
            receive("REFER"),
            respond("202 Accepted"),
            notify(2, "200 OK"),
            receive("200"),
            hung_up_on(),
        ),
    ),
    Case(
        "an extension that we do not have",
        "",
        scenario(invite("Require: teleportation"), *optional("100"), receive("420"), refuse_ack()),
    ),
    Case(
        "no audio in the offer",
        "",
        scenario(
            invite(body="v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 99"),
            *optional("100", "180"),
            receive("488"),
            refuse_ack(),
        ),
    ),
    Case(
        "an INVITE that is never acknowledged",
        "call_lost failed - -",
        scenario(invite(), *optional("100", "180"), receive("200"), receive("BYE", attributes='timeout="40000"'), respond("200 OK")),
    ),
    Case(
        "a REFER that is never answered",
        "no_response failed 408 -",
        scenario(opened(), receive("REFER"), receive("BYE", attributes='timeout="40000"'), respond("200 OK")),
    ),
]


@dataclass(slots=True)
class Record:
    """What happened in a case."""

    says: str = ""
    failure: str = ""
    ladder: list[str] = field(default_factory=list)
    routes: list[list[str]] = field(default_factory=list)
    credentials: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def records(sipp: None) -> AsyncIterator[dict[str, Record]]:
    """Play every case at once."""
    peer = Peer(name="sipp", match=("127.0.0.0/8",), username="cxmld", password=SecretStr("secret"))
    async with daemon_under_test(peers=(peer,)) as daemon:
        results = await asyncio.gather(*(recorded(case, daemon) for case in SIPP_CASES))
        await daemon.wait_idle()
        yield {case.name: record for case, record in zip(SIPP_CASES, results, strict=True)}


async def recorded(case: Case, daemon: DaemonUnderTest) -> Record:
    """Play one case; what breaks it is a failure of this case alone."""
    record = Record()
    try:
        async with asyncio.timeout(LIMIT_S):
            await play(case, daemon, record)
    except Exception as error:  # told by the case's own test
        record.failure = f"{type(error).__name__}: {error}"
    for passed in daemon.traffic:
        message = passed.message
        if message.to.uri.user == case.user or message.from_.uri.user == case.user:
            record.ladder.append(passed.label)
            record.credentials += [(message.cseq.method, value) for value in message.headers.lines("Proxy-Authorization")]
            record.bodies.append(message.body)
            if isinstance(message, Request) and passed.direction == "out":
                record.routes.append(message.headers.values("Route"))
    return record


async def play(case: Case, daemon: DaemonUnderTest, record: Record) -> None:
    """Run the scenario, and read the action request."""
    verbs = case.document.format(user=case.user)

    async def slow(_form: dict[str, str]) -> str:
        await asyncio.sleep(GATE_S)
        return verbs

    daemon.app.calls[case.user] = slow if case.is_slow_application else verbs
    daemon.app.pages[f"/done/{case.user}"] = "<Hangup/>"
    result = await sipp_runner.run(
        scenario_text(case), remote=("127.0.0.1", daemon.port), tcp=case.tcp, service=case.user, timeout_s=int(LIMIT_S) - 5
    )
    result.check()
    if case.says:
        done = await daemon.app.wait(f"/done/{case.user}")
        record.says = " ".join(action_parameters(done.form))


def scenario_text(case: Case) -> str:
    """Return the scenario, with a statement for SIPp that the variables of its actions are used."""
    used = [name for name in ("valid", "via", "number") if f'assign_to="{name}"' in case.scenario]
    statement = f'<Reference variables="{",".join(used)}"/>\n' if used else ""
    return case.scenario.replace("</scenario>", f"{statement}</scenario>")


@pytest.mark.parametrize("case", SIPP_CASES, ids=lambda case: case.user)
def test_a_caller_that_no_asterisk_is(records: dict[str, Record], case: Case) -> None:
    record = records[case.name]
    ladder = "\n".join(record.ladder)
    assert record.failure == "", f"{record.failure}\n{ladder}"
    assert record.says == case.says, ladder


def test_requests_take_the_way_through_both_proxies(records: dict[str, Record]) -> None:
    routes = records["two proxies between us"].routes
    assert len(routes) == 2, "REFER and BYE"
    for near, far in routes:
        assert ";hop=near" in near
        assert ";hop=far" in far


def test_the_credentials_for_a_proxy_are_right(records: dict[str, Record]) -> None:
    sent = records["challenged by 407"].credentials
    assert sent[0][0] == "REFER"
    for method, value in sent:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', value.removeprefix("Digest ")))
        one, two = (hashlib.md5(text.encode()).hexdigest() for text in ("cxmld:pbx:secret", f"{method}:{given['uri']}"))
        text = ":".join((one, given["nonce"], given["nc"], given["cnonce"], given["qop"], two))
        assert given["response"] == hashlib.md5(text.encode()).hexdigest()


def test_the_report_with_bare_line_feeds_has_no_other_line_ends(records: dict[str, Record]) -> None:
    bodies = records["a report with bare line feeds"].bodies
    assert any(body.startswith(b"SIP/2.0 486 Busy Here\nServer: old\n") for body in bodies)


def test_every_case_has_a_call_of_its_own() -> None:
    assert len({case.user for case in SIPP_CASES}) == len(SIPP_CASES)


def test_a_scenario_that_an_early_answer_would_end_is_refused() -> None:
    with pytest.raises(ValueError, match="the answer to NOTIFY may come before this step is through"):
        scenario(opened(), receive("REFER"), notify(2, "200 OK"), respond("202 Accepted"), receive("200"))
