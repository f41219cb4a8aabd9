"""FreeSWITCH, where ``FREESWITCH_SIP=host:port`` names one."""

import socket
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cxml.daemon.config import Peer, Refer
from sipua.agent import UserAgent
from tests.support import peers
from tests.support import sipp as sipp_runner
from tests.support.daemon import DaemonUnderTest, action_parameters, daemon_under_test

CONFIG = Path(__file__).parent / "freeswitch" / "config" / "freeswitch.xml"


def test_freeswitch_answers_options(freeswitch: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(freeswitch)
        client.settimeout(5)
        host, port = client.getsockname()[:2]
        lines = [
            f"OPTIONS sip:{freeswitch[0]}:{freeswitch[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bKfreeswitch{port}",
            "Max-Forwards: 70",
            f"From: <sip:probe@{host}>;tag=harness",
            f"To: <sip:{freeswitch[0]}>",
            f"Call-ID: freeswitch-{port}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        client.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert client.recv(65536).startswith(b"SIP/2.0 200 ")


@pytest.mark.usefixtures("sipp")
async def test_freeswitch_refuses_for_a_busy_target(freeswitch: tuple[str, int]) -> None:
    (await sipp_runner.run("uac-refused.xml", remote=freeswitch, service="local-busy", fill={"CODE": "486"})).check()


@dataclass(frozen=True, slots=True)
class Case:
    """A transfer: the extension (``{host}`` and ``{port}`` are those of a phone of the kind ``phone``) and what the action request says."""

    name: str
    target: str
    says: str
    phone: str = ""
    is_handed_over: bool = False


CASES = [
    Case("an extension answers", "answers", "transferred in-progress 202 200", is_handed_over=True),
    Case("an extension is busy", "busy", "busy busy 202 486"),
    Case("an extension does not exist", "nosuch", "failed failed 202 403"),
    Case("nobody listens", "uas-{host}-9", "failed failed 202 503"),
    Case("a phone answers", "uas-{host}-{port}", "transferred in-progress 202 200", phone="200", is_handed_over=True),
    Case("a phone declines", "uas-{host}-{port}", "declined failed 202 603", phone="603"),
    Case("a phone never answers", "uas-{host}-{port}", "failed failed 202 403", phone="silent"),
]


@pytest.mark.usefixtures("sipp")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_the_daemon_transfers_a_call_of_freeswitch(freeswitch: tuple[str, int], case: Case) -> None:
    """A caller of ours goes through FreeSWITCH to the daemon: everything that is seen, is seen in SIP."""
    ours = local_address(freeswitch)
    async with transferring_daemon(ours) as daemon, UserAgent(listen=[f"udp:{ours}:0"], identity=f"<sip:caller@{ours}>") as caller:
        if case.phone:
            if ours != sipp_runner.HOST:
                pytest.skip("the phones of the tests listen on 127.0.0.1")
            async with sipp_runner.target(case.phone) as phone:
                await check_transfer(freeswitch, daemon, caller, case, case.target.format(host=ours, port=phone.port))
        else:
            await check_transfer(freeswitch, daemon, caller, case, case.target.format(host=ours, port=0))


@pytest.mark.usefixtures("sipp")
async def test_a_caller_who_leaves_while_the_target_rings_ends_by_our_own_timer(freeswitch: tuple[str, int]) -> None:
    """FreeSWITCH then says nothing at all: no NOTIFY and no BYE."""
    ours = local_address(freeswitch)
    if ours != sipp_runner.HOST:
        pytest.skip("the phones of the tests listen on 127.0.0.1")
    async with (
        transferring_daemon(ours, notify_timeout_s=4.0) as daemon,
        UserAgent(listen=[f"udp:{ours}:0"], identity=f"<sip:caller@{ours}>") as caller,
        sipp_runner.target("silent") as phone,
    ):
        host, port = freeswitch
        daemon.app.calls["1000"] = f"<Refer action='done'><Sip>sip:uas-{ours}-{phone.port}@{host}:{port}</Sip></Refer>"
        daemon.app.pages["/done"] = "<Hangup/>"
        call = await caller.dial(f"sip:agent-{ours}-{daemon.port}@{host}:{port}")
        call_id = (await daemon.app.wait("/voice")).form["SipCallId"]
        await daemon.wait_label(call_id, "> 202 REFER")
        await call.hangup()
        done = await daemon.app.wait("/done")
        assert action_parameters(done.form) == ("notify_timeout", "-", "202", "-")
        await daemon.wait_label(call_id, "> 200 BYE")


def local_address(remote: tuple[str, int]) -> str:
    """Return the address of ours that *remote* sees."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(remote)
        return str(probe.getsockname()[0])


def transferring_daemon(ours: str, notify_timeout_s: float = 30.0) -> AbstractAsyncContextManager[DaemonUnderTest]:
    """Return a daemon that takes calls from everywhere."""
    peer = Peer(name="freeswitch", match=("0.0.0.0/0",))
    return daemon_under_test(host=ours, peers=(peer,), refer=Refer(notify_timeout_s=notify_timeout_s))


async def check_transfer(freeswitch: tuple[str, int], daemon: DaemonUnderTest, caller: UserAgent, case: Case, target: str) -> None:
    """Call, transfer, and look at the report, at the order of the messages and at the caller's call."""
    host, port = freeswitch
    daemon.app.calls["1000"] = f"<Refer action='done'><Sip>sip:{target}@{host}:{port}</Sip></Refer>"
    daemon.app.pages["/done"] = "<Redirect>after</Redirect>"
    daemon.app.pages["/after"] = "<Hangup/>"
    call = await caller.dial(f"sip:agent-{local_address(freeswitch)}-{daemon.port}@{host}:{port}")
    done = await daemon.app.wait("/done", timeout_s=30.0)
    assert " ".join(action_parameters(done.form)) == case.says
    await daemon.app.wait("/after")
    call_id = done.form["SipCallId"]
    await daemon.wait_label(call_id, "> 200 BYE")
    labels = daemon.labels(call_id)
    assert "> BYE" not in labels, "with confirm_blind_transfer the daemon hangs up"
    assert len([label for label in labels if label.startswith("> NOTIFY")]) == 1, labels
    if case.is_handed_over:
        assert call.is_confirmed, "the caller goes on with the target"
        await call.hangup()
    await call.wait_ended()


def test_the_configuration_confirms_transfers() -> None:
    document = ET.parse(CONFIG).getroot()
    assert document.find(".//param[@name='confirm-blind-transfer'][@value='true']") is not None
    (bridge,) = document.findall(".//extension[@name='agent']//action[@application='bridge']")
    assert bridge.attrib["data"].startswith("{confirm_blind_transfer=true}")


@pytest.mark.parametrize(("text", "address"), [("127.0.0.1:5080", ("127.0.0.1", 5080)), ("[::1]:5080", ("::1", 5080))])
def test_the_address_of_freeswitch_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, address: tuple[str, int]
) -> None:
    monkeypatch.setenv("FREESWITCH_SIP", text)
    assert peers.missing("freeswitch") is None
    assert peers.freeswitch_address() == address


@pytest.mark.parametrize("text", ["host", "host:", ":5080", "host:sip"])
def test_a_wrong_address_of_freeswitch_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FREESWITCH_SIP", text)
    with pytest.raises(ValueError, match="must be host:port"):
        peers.freeswitch_address()


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", "skipped: no Asterisk"), ("true", "no Asterisk: run tests/interop/install-peers")], ids=["here", "in CI"]
)
def test_a_missing_peer_is_a_skip_and_in_ci_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: str) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(peers, "PEERS_DIR", tmp_path)
    with pytest.raises(pytest.fail.Exception if ci else pytest.skip.Exception) as raised:
        peers.require("asterisk")
    assert str(raised.value) == outcome


def test_a_missing_freeswitch_is_a_skip_even_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("FREESWITCH_SIP", raising=False)
    with pytest.raises(pytest.skip.Exception, match="skipped: no FreeSWITCH"):
        peers.require("freeswitch")
