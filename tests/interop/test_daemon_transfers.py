"""The daemon transfers calls of a real Asterisk: what the action request says, what runs then, and where the caller really is.

All cases run beside each other against one daemon, once for the module; each test looks at the record of its case. The page
that follows the action keeps the daemon in the call until the PBX has been asked where the caller is, so that nothing but
the REFER can have moved it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from cxml.daemon.config import Refer
from tests.support import sipp as sipp_runner
from tests.support.ami import Ami, Channel
from tests.support.asterisk import Asterisk
from tests.support.daemon import DaemonUnderTest, action_parameters, daemon_under_test
from tests.support.pbx_calls import PbxCall, call_daemon, call_daemon_alone, is_at, target_uri, trunk

GATE_S = 4.0
"""How long the PBX may take to get the caller where it belongs: less than the daemon waits for a document."""

DIAL_LIMIT_S = 10.0
"""How long the dialplan lets a target ring."""

LIMIT_S = 40.0


@dataclass(frozen=True, slots=True)
class Case:
    """A transfer. ``target`` is a user of the PBX or a whole URI; ``{port}`` in it is the port of the phone of the kind ``phone``.

    ``says`` are the four parameters of the action request, ``where`` is the caller's place after it (see :func:`is_at`),
    ``finally_`` the place after our BYE. ``meanwhile`` happens once the target rings: ``caller`` hangs up, ``pbx`` ends every
    channel of the call, ``daemon`` hangs up. ``after_s`` is the least time between REFER and outcome.
    """

    name: str
    target: str
    says: str
    where: str
    finally_: str = ""
    phone: str = ""
    caller: str = ""
    endpoint: str = "cxmld-trunk"
    transport: str = ""
    document: str = ""
    meanwhile: str = ""
    after_s: float = 0.0
    is_bridged: bool = True
    refers: int = 1
    is_impatient: bool = False

    @property
    def user(self) -> str:
        """The user that the PBX calls at the daemon."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())


TRANSFERRED = "transferred in-progress 202 200"
BUSY = "busy busy 202 486"
FAILED = "failed failed 202 503"
UNKNOWN = "failed failed 202 404"

CASES = [
    Case("a phone answers", "true-{port}", TRANSFERRED, "phone", phone="200", after_s=0.9),
    Case("a phone answers a caller over TCP", "true-{port}", TRANSFERRED, "phone", phone="200", transport="tcp"),
    Case("a phone answers a phone", "true-{port}", TRANSFERRED, "phone", phone="200", caller="200"),
    Case("a phone answers without ringing", "sip-{port}", TRANSFERRED, "phone", phone="mute", after_s=0.9),
    Case("a phone answers after early media", "true-{port}", TRANSFERRED, "phone", phone="early", after_s=1.9),
    Case("a phone is busy", "true-{port}", BUSY, "gone", phone="486", after_s=0.9),
    Case("a phone declines", "true-{port}", FAILED, "gone", phone="603", after_s=0.9),
    Case("a phone is away", "true-{port}", FAILED, "gone", phone="480", after_s=0.9),
    Case("a phone rings until the PBX gives up", "true-{port}", FAILED, "gone", phone="silent", after_s=DIAL_LIMIT_S - 0.2),
    Case("an extension plays", "plays", TRANSFERRED, "plays"),
    Case("an extension plays over TCP", "plays", TRANSFERRED, "plays", transport="tcp"),
    Case("an extension answers late", "true-slow", TRANSFERRED, "true-slow", after_s=2.9),
    Case("an extension is busy", "busy", BUSY, "gone"),
    Case("an extension is busy for a caller over TCP", "busy", BUSY, "gone", transport="tcp"),
    Case("an extension is congested", "congestion", FAILED, "gone"),
    Case("an extension declines", "declines", FAILED, "gone"),
    Case("an extension does not exist", "unknown", UNKNOWN, "agent", finally_="gone"),
    Case("a target without a user", "sip:127.0.0.1:{pbx}", UNKNOWN, "agent", finally_="gone"),
    Case("a target at another host", "sip:plays@192.0.2.9", TRANSFERRED, "plays"),
    Case("a telephone number", "tel:+15551234", "invalid_target failed - -", "agent", finally_="gone", refers=0),
    Case("a web address", "http://example.com/", "invalid_target failed - -", "agent", finally_="gone", refers=0),
    Case("transfers are forbidden", "plays", "rejected failed 603 -", "agent", finally_="gone", endpoint="cxmld-notransfer"),
    Case("progress is switched off", "noanswer", TRANSFERRED, "noanswer", endpoint="cxmld-noprogress"),
    Case("a stock dialplan claims success too early", "sip-{port}", TRANSFERRED, "", finally_="gone", phone="486"),
    Case("nobody to transfer", "plays", "failed failed 202 400", "alone", finally_="gone", is_bridged=False, refers=2),
    Case("the caller hangs up while the target rings", "true-{port}", FAILED, "gone", phone="silent", meanwhile="caller"),
    Case("the PBX ends every channel while the target rings", "silent-ring", FAILED, "gone", meanwhile="pbx"),
    Case("we hang up while the target rings", "true-{port}", "local_hangup canceled 202 180", "", "phone", phone="200", meanwhile="daemon"),
    Case("a target rings longer than we wait", "silent-ring", "notify_timeout failed 202 180", "noanswer", is_impatient=True, after_s=2.9),
    Case("an answer that the PBX never reports", "answers", "notify_timeout - 202 -", "answers", is_impatient=True, after_s=2.9),
    Case(
        "two transfers in one document",
        "busy",
        BUSY,
        "gone",
        document="<Refer><Sip>{unknown}</Sip></Refer><Refer action='done/{user}'><Sip>{target}</Sip></Refer>",
        refers=2,
    ),
    Case(
        "a transfer and then another by the action",
        "plays",
        TRANSFERRED,
        "plays",
        document="<Refer action='second'><Sip>{unknown}</Sip></Refer>",
        refers=2,
    ),
    Case(
        "a transfer after a pause",
        "plays",
        TRANSFERRED,
        "plays",
        document="<Pause length='1'/><Refer method='GET' action='done/{user}'><Sip>{target}</Sip></Refer>",
    ),
]


DOUBTED = {
    "an extension plays": "answered at once, as no person does",
    "an extension plays over TCP": "the same",
    "a target at another host": "the same",
    "a transfer and then another by the action": "the same",
    "a transfer after a pause": "the same",
    "progress is switched off": "false success",
    "a stock dialplan claims success too early": "false success",
    "we hang up while the target rings": "not reported",
    "a target rings longer than we wait": "not reported",
    "an answer that the PBX never reports": "not reported",
}
"""The cases whose action request says that its outcome is not to be relied on, and why."""


@dataclass(slots=True)
class Record:
    """What happened in a case. ``failures`` is empty when all was as it had to be."""

    says: str = ""
    failures: list[str] = field(default_factory=list)
    ladder: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def expect(self, holds: bool, what: str) -> None:
        """Note a failure unless *holds*."""
        if not holds:
            self.failures.append(what)


@dataclass(slots=True)
class Stage:
    """What the cases share."""

    ami: Ami
    asterisk: Asterisk
    patient: DaemonUnderTest
    impatient: DaemonUnderTest


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def records(asterisk_process: Asterisk, sipp: None) -> AsyncIterator[dict[str, Record]]:
    """Play every case at once."""
    asterisk_process.check_running()
    async with (
        asterisk_process.ami() as ami,
        daemon_under_test() as patient,
        daemon_under_test(refer=Refer(notify_timeout_s=3.0)) as impatient,
    ):
        stage = Stage(ami, asterisk_process, patient, impatient)
        results = await asyncio.gather(*(recorded(case, stage) for case in CASES))
        await ami.hang_up_all()
        for daemon in (patient, impatient):
            await daemon.wait_idle()
        yield {case.name: record for case, record in zip(CASES, results, strict=True)}


async def recorded(case: Case, stage: Stage) -> Record:
    """Play one case; what breaks it is a failure of this case alone."""
    record = Record()
    daemon = stage.impatient if case.is_impatient else stage.patient
    try:
        async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
            phone = await stack.enter_async_context(sipp_runner.target(case.phone)) if case.phone else None
            caller = await stack.enter_async_context(sipp_runner.target(case.caller)) if case.caller else None
            ports = {"port": phone.port if phone else 0, "pbx": stage.asterisk.ports.sip}
            await play(case, stage, daemon, record, ports, f"PJSIP/external/sip:caller@127.0.0.1:{caller.port}" if caller else "")
    except Exception as error:  # told by the case's own test
        record.failures.append(f"{type(error).__name__}: {error}")
    call_ids = {hit.form["SipCallId"] for hit in daemon.app.of("/voice", case.user)}
    record.ladder = [label for call_id in call_ids for label in daemon.labels(call_id)]
    return record


async def play(case: Case, stage: Stage, daemon: DaemonUnderTest, record: Record, ports: dict[str, int], caller: str) -> None:
    """Call the daemon, let it transfer, and compare everything with the case."""
    may_go_on, app = asyncio.Event(), daemon.app
    script(case, stage, daemon, ports, may_go_on)
    dialled = trunk(case.user, daemon.port, endpoint=case.endpoint, transport=case.transport)
    if not case.is_bridged:
        call = await call_daemon_alone(stage.ami, dialled)
    elif caller:
        call = await call_daemon(stage.ami, dialled, caller=caller)
    else:
        call = await call_daemon(stage.ami, dialled)
    call_id = (await app.wait("/voice", case.user)).form["SipCallId"]
    if case.meanwhile:
        await daemon.wait_label(call_id, "> NOTIFY 180")
        await interfere(case, call, daemon)
    done = await app.wait(f"/done/{case.user}", timeout_s=LIMIT_S)
    record.says = " ".join(action_parameters(done.form))
    record.expect(record.says == case.says, f"the action request says {record.says!r}, not {case.says!r}")
    confidence = "low" if case.name in DOUBTED else "high"
    record.expect(done.form["CxmldReferConfidence"] == confidence, f"confidence is {done.form['CxmldReferConfidence']}, not {confidence}")
    sent = [passed for passed in daemon.of(call_id) if passed.label == "< REFER"]
    record.expect(len(sent) == case.refers, f"{len(sent)} REFERs were sent, not {case.refers}")
    if sent:
        record.seconds = done.at - sent[-1].at
        record.expect(record.seconds >= case.after_s, f"the outcome came after {record.seconds:.2f} s, {case.after_s} s is the least")
    if case.meanwhile != "daemon":
        await app.wait(f"/after/{case.user}")
        record.expect(not {"< BYE", "> BYE"} & set(daemon.labels(call_id)), "the call was over before its last verb")
        if case.where:
            await at(case.where, call, GATE_S)
    may_go_on.set()
    await daemon.wait_label(call_id, "> 200 BYE")
    record.expect("> BYE" not in daemon.labels(call_id), "the PBX sent BYE; it was ours to send")
    await at(case.finally_ or case.where, call, 10.0)
    record.expect(len(app.of(f"/done/{case.user}")) == 1, "the action was requested more than once")


def script(case: Case, stage: Stage, daemon: DaemonUnderTest, ports: dict[str, int], may_go_on: asyncio.Event) -> None:
    """Write the documents of a case: the one with the transfer, the one of the action, and one that waits before it hangs up."""
    target = case.target.format(**ports)
    uri = target if ":" in target else target_uri(stage.asterisk, target)
    transfer = f"<Refer action='done/{case.user}'><Sip>{uri}</Sip></Refer>"
    document = case.document.format(user=case.user, target=uri, unknown=target_uri(stage.asterisk, "unknown"))

    async def after(_form: dict[str, str]) -> str:
        await may_go_on.wait()
        return "<Hangup/>"

    daemon.app.calls[case.user] = document or transfer
    if "action='second'" in document:
        daemon.app.pages["/second"] = transfer
    daemon.app.pages[f"/done/{case.user}"] = f"<Redirect>../after/{case.user}</Redirect>"
    daemon.app.pages[f"/after/{case.user}"] = after


async def interfere(case: Case, call: PbxCall, daemon: DaemonUnderTest) -> None:
    """Do what happens while the target rings."""
    match case.meanwhile:
        case "caller":
            await call.ami.action("Hangup", Channel=next(c.name for c in await call.channels() if c.name.endswith(";2")))
        case "pbx":
            await call.hang_up()
        case _:
            live = next(sip for sip in daemon.daemon.agent.calls if sip.to.uri.user == case.user)
            await live.hangup()


async def at(where: str, call: PbxCall, timeout_s: float) -> list[Channel]:
    """Wait until the caller is where it belongs."""
    return await call.wait(lambda channels: is_at(where, channels), f"the caller at {where!r}", timeout_s=timeout_s)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.user)
def test_a_transfer_by_asterisk(records: dict[str, Record], case: Case) -> None:
    record = records[case.name]
    assert record.failures == [], f"{record.failures}\n" + "\n".join(record.ladder)


def test_every_case_has_a_call_of_its_own() -> None:
    assert len({case.user for case in CASES}) == len(CASES)
