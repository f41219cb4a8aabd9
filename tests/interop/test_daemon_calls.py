"""Calls of a real Asterisk to the daemon: by trunk and by registration, in-dialog requests, media, and every way to end early."""

import asyncio
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from cxml.access.rules import Strangers
from cxml.daemon.config import Access, Peer
from sipua.message import Request
from sipua.usage.call.media import MediaMode
from tests.support import sipp as sipp_runner
from tests.support.ami import Ami, AmiError
from tests.support.asterisk import Asterisk
from tests.support.daemon import DaemonUnderTest, Handler, action_parameters, daemon_under_test, until
from tests.support.pbx_calls import PbxCall, call_daemon, daemon_legs, is_at, target_uri, trunk

ACCOUNTS = ("cxmld", "cxmld-tcp", "cxmld-sha256")
ALGORITHMS = {"cxmld": {"MD5", "SHA-256"}, "cxmld-tcp": {"MD5"}, "cxmld-sha256": {"SHA-256"}}
"""What the PBX lets each account answer with."""

PASSWORD = "cxmld-secret"
MEDIA_LIMIT_S = 2.0
"""``rtp_timeout`` of the endpoint cxmld-media."""


def account(asterisk: Asterisk, name: str, transport: str, password: str = PASSWORD) -> Peer:
    """Return the settings of a peer that the daemon registers at."""
    uri = f"sip:{asterisk.host}:{asterisk.ports.sip}" + (";transport=tcp" if transport == "tcp" else "")
    return Peer(name=name, uri=uri, username=name, password=SecretStr(password), register=True)


async def contacts(ami: Ami, port: int) -> dict[str, str]:
    """Return the contacts at *port* that the PBX knows, each with its status."""
    try:
        messages = await ami.action("PJSIPShowContacts", until="ContactListComplete")
    except AmiError:  # how it says that there is none
        return {}
    found = {message["Uri"]: message["Status"] for message in messages if message.event == "ContactList"}
    return {uri: status for uri, status in found.items() if f":{port}" in uri}


async def wait_contacts(ami: Ami, port: int, count: int) -> dict[str, str]:
    """Wait until the PBX knows *count* contacts at *port*."""
    async with asyncio.timeout(10):
        while len(found := await contacts(ami, port)) != count:
            await asyncio.sleep(0.05)
    return found


@dataclass(slots=True)
class Bench:
    """A daemon and the PBX that calls it."""

    ami: Ami
    asterisk: Asterisk
    daemon: DaemonUnderTest

    async def call(self, user: str, document: str | Handler | None = "", **options: str) -> tuple[PbxCall, str]:
        """Let the PBX call *user* at the daemon; return the call and its Call-ID.

        *document* is what the application has for it: verbs, a handler, None for nothing at all; by default the daemon stays in the call.
        """
        caller = options.pop("caller", "")
        if document is not None:
            self.daemon.app.calls[user] = document or self.stays()
        dialled = trunk(user, self.daemon.port, **options)
        call = await (call_daemon(self.ami, dialled, caller=caller) if caller else call_daemon(self.ami, dialled))
        return call, (await self.daemon.app.wait("/voice", user)).form["SipCallId"]

    def stays(self, seconds: float = 30) -> str:
        """Return verbs that keep the daemon in an answered call: a transfer that fails and leaves the caller, and a pause."""
        return f"<Refer><Sip>{target_uri(self.asterisk, 'unknown')}</Sip></Refer><Pause length='{seconds:.0f}'/>"

    async def leg(self, call: PbxCall) -> str:
        """Return the name of the PBX's channel to the daemon once both are connected."""
        channels = await call.wait(lambda found: is_at("agent", found), "the caller with the daemon")
        return daemon_legs(channels)[0].name


async def transferred(bench: Bench, user: str, dialled: str) -> None:
    """Call *dialled*, transfer the caller, and check the outcome and the place of the caller."""
    app = bench.daemon.app
    app.calls[user] = f"<Refer action='done/{user}'><Sip>{target_uri(bench.asterisk, 'plays')}</Sip></Refer>"
    app.pages[f"/done/{user}"] = "<Hangup/>"
    call = await call_daemon(bench.ami, dialled)
    done = await app.wait(f"/done/{user}")
    assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
    await bench.daemon.wait_label(done.form["SipCallId"], "> 200 BYE")
    await call.wait(lambda channels: is_at("plays", channels), "the caller at plays")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_pbx_calls_the_contact_that_the_daemon_registered(ami: Ami, asterisk: Asterisk, transport: str) -> None:
    peers = tuple(account(asterisk, name, transport) for name in ACCOUNTS)
    async with daemon_under_test(peers=peers) as daemon:
        bench = Bench(ami, asterisk, daemon)
        await until(lambda: daemon.daemon.observer.registered == dict.fromkeys(ACCOUNTS, True), "three registrations")
        found = await wait_contacts(ami, daemon.port, len(ACCOUNTS))
        assert all((";transport=tcp" in uri) == (transport == "tcp") for uri in found), found
        assert algorithms(daemon) == {name: algorithm for name, algorithm in algorithms(daemon).items() if algorithm in ALGORITHMS[name]}
        assert set(algorithms(daemon)) == set(ACCOUNTS)
        await asyncio.gather(*(transferred(bench, name, f"PJSIP/{name}") for name in ACCOUNTS))
        async with asyncio.timeout(10):  # asked by OPTIONS: only the account with a qualify_frequency
            while "Reachable" not in (await contacts(ami, daemon.port)).values():
                await asyncio.sleep(0.05)
        assert {"> OPTIONS", "< 200 OPTIONS"} <= {passed.label for passed in daemon.traffic}
        used = {passed.message.via.transport for passed in daemon.traffic if isinstance(passed.message, Request)}
        assert used == {transport.upper()}
    assert await contacts(ami, daemon.port) == {}, "the daemon un-registers when it ends"


def algorithms(daemon: DaemonUnderTest) -> dict[str, str]:
    """Return the digest algorithm of the last REGISTER of each user."""
    found: dict[str, str] = {}
    for passed in daemon.traffic:
        message = passed.message
        value = message.headers.get("Authorization") or ""
        if passed.label == "< REGISTER" and value:
            found[message.from_.uri.user or ""] = value.partition("algorithm=")[2].partition(",")[0].strip('"') or "MD5"
    return found


async def test_a_wrong_password_is_tried_once_and_not_for_ever(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test(peers=(account(asterisk, "cxmld", "udp", "wrong"),)) as daemon:
        await until(lambda: [passed.label for passed in daemon.traffic].count("> 401 REGISTER") >= 2, "two refusals")
        await transferred(Bench(ami, asterisk, daemon), "1000", trunk("1000", daemon.port))
        assert [passed.label for passed in daemon.traffic].count("< REGISTER") == 2
        assert daemon.daemon.observer.registered == {"cxmld": False}
        assert await contacts(ami, daemon.port) == {}


@pytest.mark.parametrize("extension", ["trunk", "trunk-tcp", "user-support"])
async def test_the_dialplan_of_an_ip_trunk_reaches_the_daemon(ami: Ami, asterisk: Asterisk, extension: str) -> None:
    async with daemon_under_test(port=asterisk.ports.agent) as daemon:
        user = "support" if extension == "user-support" else "1000"
        daemon.app.calls[user] = Bench(ami, asterisk, daemon).stays()
        await ami.originate(extension, "silent")
        call_id = (await daemon.app.wait("/voice", user)).form["SipCallId"]
        await ami.wait_channel(name="PJSIP/cxmld-trunk", is_up=True)
        await ami.hang_up_all()
        await daemon.wait_label(call_id, "< 200 BYE")
        await daemon.wait_idle()


async def test_the_first_request_tells_who_calls(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        call, call_id = await Bench(ami, asterisk, daemon).call("facts", "<Hangup/>")
        form = daemon.app.of("/voice", "facts")[0].form
        assert form["From"].startswith("sip:2000@")
        assert form["To"].startswith("sip:facts@")
        assert (form["CallerName"], form["SipSourceIp"], form["Direction"]) == ("Test Caller", "127.0.0.1", "inbound")
        assert (form["CallStatus"], form["SipCallId"]) == ("ringing", call_id)
        await call.wait(lambda channels: not channels, "the end of the call")


# -- requests of the PBX in a call ----------------------------------------------------------------------------------------------------


async def test_direct_media_re_invites_are_answered_before_and_during_a_transfer(ami: Ami, asterisk: Asterisk, sipp: None) -> None:
    async with daemon_under_test() as daemon, sipp_runner.target("200") as caller, sipp_runner.target("200") as phone:
        bench = Bench(ami, asterisk, daemon)
        daemon.app.pages["/done"] = "<Hangup/>"
        call, call_id = await bench.call(
            "direct",
            f"<Refer action='done'><Sip>{target_uri(asterisk, f'true-{phone.port}')}</Sip></Refer>",
            endpoint="cxmld-direct",
            caller=f"PJSIP/external-direct/sip:caller@127.0.0.1:{caller.port}",
        )
        done = await daemon.app.wait("/done")
        assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
        await daemon.wait_label(call_id, "> 200 BYE")
        await call.wait(lambda channels: is_at("phone", channels), "the caller with the phone")
        labels = daemon.labels(call_id)
        before = labels[: labels.index("< REFER")]
        assert before.count("> INVITE") == before.count("< 200 INVITE") == 2, before
        assert labels.count("> INVITE") == labels.count("> ACK") == labels.count("< 200 INVITE"), labels
        assert labels.count("> INVITE") >= 3, "the PBX takes the media back when the transfer begins"


async def test_a_notify_of_another_event_is_refused_and_the_call_goes_on(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        bench = Bench(ami, asterisk, daemon)
        call, call_id = await bench.call("other-event")
        await ami.command(f"pjsip send notify hello channel {await bench.leg(call)}")
        await daemon.wait_label(call_id, "< 489 NOTIFY")
        assert is_at("agent", await call.channels())
        await call.hang_up()
        await daemon.wait_label(call_id, "< 200 BYE")


async def test_a_notify_outside_a_dialog_is_refused(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test(peers=(account(asterisk, "cxmld", "udp"),)) as daemon:
        await wait_contacts(ami, daemon.port, 1)
        await ami.command("pjsip send notify hello endpoint cxmld")
        await until(lambda: "< 489 NOTIFY" in [passed.label for passed in daemon.traffic], "489")


# -- media ----------------------------------------------------------------------------------------------------------------------------


async def test_silence_keeps_a_call_that_a_media_time_out_would_end(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test(mode=MediaMode.SILENCE) as daemon:
        bench = Bench(ami, asterisk, daemon)
        call, call_id = await bench.call("silence", bench.stays(2 * MEDIA_LIMIT_S + 1), endpoint="cxmld-media")
        leg = await bench.leg(call)
        await daemon.wait_label(call_id, "> 200 BYE")
        assert "> BYE" not in daemon.labels(call_id), leg


@pytest.mark.parametrize("mode", [MediaMode.RECEIVE, MediaMode.NONE])
async def test_without_silence_the_media_time_out_of_the_pbx_ends_the_call(ami: Ami, asterisk: Asterisk, mode: MediaMode) -> None:
    async with daemon_under_test(mode=mode) as daemon:
        _, call_id = await Bench(ami, asterisk, daemon).call("quiet", endpoint="cxmld-media")
        await daemon.wait_label(call_id, "> BYE", timeout_s=4 * MEDIA_LIMIT_S)
        await daemon.wait_label(call_id, "< 200 BYE")
        await daemon.wait_idle()


async def test_the_silence_is_audio_that_the_pbx_counts(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test(mode=MediaMode.SILENCE) as daemon:
        bench = Bench(ami, asterisk, daemon)
        call, _ = await bench.call("counted")
        leg = await bench.leg(call)
        packets = 0
        async with asyncio.timeout(10):
            while packets < 50:
                packets = int((await ami.action("Getvar", Channel=leg, Variable="CHANNEL(rtcp,rxcount)"))[0]["Value"] or 0)
                await asyncio.sleep(0.1)
        await call.hang_up()
        await daemon.wait_idle()


# -- early ends -----------------------------------------------------------------------------------------------------------------------


async def test_a_caller_who_gives_up_before_the_document_comes_is_cancelled(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        never = asyncio.Event()

        async def slow(_form: dict[str, str]) -> str:
            await never.wait()
            return "<Pause length='1'/>"

        call, call_id = await Bench(ami, asterisk, daemon).call("given-up", slow)
        await daemon.wait_label(call_id, "< 180 INVITE")
        await call.hang_up()
        await daemon.wait_label(call_id, "< 487 INVITE")
        await daemon.wait_label(call_id, "> ACK")
        await daemon.wait_idle()
        assert len(daemon.app.hits) == 1


@pytest.mark.parametrize(
    ("user", "document", "status"),
    [
        ("rejected", "<Reject/>", 603),
        ("rejected-busy", "<Reject reason='busy'/>", 486),
        ("broken", "<Refer>", 500),
        ("no-document", None, 500),
    ],
)
async def test_a_call_is_refused(ami: Ami, asterisk: Asterisk, user: str, document: str | None, status: int) -> None:
    async with daemon_under_test() as daemon:
        call, call_id = await Bench(ami, asterisk, daemon).call(user, document)
        await daemon.wait_label(call_id, f"< {status} INVITE")
        await daemon.wait_label(call_id, "> ACK")
        await call.wait(lambda channels: not channels, "the end of the call")
        await daemon.wait_idle()


async def test_a_document_that_only_hangs_up_answers_first(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        _, call_id = await Bench(ami, asterisk, daemon).call("hung-up", "<Hangup/>")
        await daemon.wait_label(call_id, "> 200 BYE")
        assert daemon.labels(call_id) == ["> INVITE", "< 180 INVITE", "< 200 INVITE", "> ACK", "< BYE", "> 200 BYE"]


async def test_a_pause_rings_and_does_not_answer(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        call, call_id = await Bench(ami, asterisk, daemon).call("ringing", "<Pause length='1'/><Reject/>")
        await daemon.wait_label(call_id, "< 603 INVITE")
        assert daemon.labels(call_id)[:3] == ["> INVITE", "< 180 INVITE", "< 603 INVITE"]
        await call.wait(lambda channels: not channels, "the end of the call")


@pytest.mark.parametrize("strangers", list(Strangers))
async def test_a_stranger_is_refused(ami: Ami, asterisk: Asterisk, strangers: Strangers) -> None:
    """With silence the PBX gives its call up after 64*T1; here we hang it up before."""
    peers = (Peer(name="elsewhere", match=("192.0.2.0/24",)),)
    async with daemon_under_test(peers=peers, access=Access(strangers=strangers)) as daemon:
        call = await call_daemon(ami, trunk("stranger", daemon.port))
        await until(lambda: "> INVITE" in [passed.label for passed in daemon.traffic], "INVITE")
        if strangers is Strangers.REFUSE:
            await until(lambda: "< 403 INVITE" in [passed.label for passed in daemon.traffic], "403")
        else:
            await until(lambda: [passed.label for passed in daemon.traffic].count("> INVITE") > 1, "INVITE again")
            await call.hang_up()
        await call.wait(lambda channels: not channels, "the end of the call")
        assert daemon.app.hits == []
        assert [passed.label for passed in daemon.traffic if passed.direction == "out"] == (
            ["< 403 INVITE"] if strangers is Strangers.REFUSE else []
        )


async def test_the_caller_hangs_up_during_a_verb(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        bench = Bench(ami, asterisk, daemon)
        call, call_id = await bench.call("left", bench.stays() + "<Redirect>never</Redirect>")
        await bench.leg(call)
        await call.hang_up()
        await daemon.wait_label(call_id, "< 200 BYE")
        await daemon.wait_idle()
        assert [hit.path for hit in daemon.app.hits] == ["/voice"]
