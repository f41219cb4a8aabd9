"""The daemon beside a real Asterisk over TLS: both show certificates and check them (RFC 3261 §26, RFC 5922)."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from cxml.daemon.config import Peer, Tls
from sipua.message import Request
from sipua.transport.certificates import VerifyClients
from tests.support.ami import Ami
from tests.support.asterisk import HOST, Asterisk
from tests.support.daemon import DaemonUnderTest, action_parameters, daemon_under_test, until
from tests.support.pbx_calls import call_daemon, is_at, trunk


def certificates(asterisk: Asterisk, *names: str, **changes: object) -> Tls:
    """Return the section [tls] of a daemon whose certificate comes from the PBX's authority."""
    certificate, key = asterisk.authority.issue(*(names or ("localhost", HOST)))
    settings = {"certificate": certificate, "private_key": key, "ca_file": str(asterisk.authority.file), **changes}
    return Tls.model_validate({"verify_clients": VerifyClients.REQUIRED, **settings})


@pytest_asyncio.fixture
async def daemon(asterisk: Asterisk) -> AsyncIterator[DaemonUnderTest]:
    async with daemon_under_test(tls=certificates(asterisk)) as running:
        yield running


async def transferred(ami: Ami, asterisk: Asterisk, daemon: DaemonUnderTest, dialled: str, user: str) -> str:
    """Let the PBX call, transfer the caller to an extension that plays, and return the Call-ID."""
    uri = f"sip:plays@{asterisk.host}:{asterisk.ports.tls};transport=tls"
    daemon.app.calls[user] = f"<Refer action='done/{user}'><Sip>{uri}</Sip></Refer>"
    daemon.app.pages[f"/done/{user}"] = "<Hangup/>"
    call = await call_daemon(ami, dialled)
    done = await daemon.app.wait(f"/done/{user}")
    assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
    await daemon.wait_label(done.form["SipCallId"], "> 200 BYE")
    await call.wait(lambda channels: is_at("plays", channels), "the caller at plays")
    return done.form["SipCallId"]


async def test_a_call_over_tls_is_transferred_over_tls(ami: Ami, asterisk: Asterisk, daemon: DaemonUnderTest) -> None:
    call_id = await transferred(ami, asterisk, daemon, trunk("1000", daemon.port + 1, transport="tls"), "1000")
    messages = [passed.message for passed in daemon.of(call_id)]
    assert {message.via.transport for message in messages} == {"TLS"}
    ok = next(passed.message for passed in daemon.of(call_id) if passed.label == "< 200 INVITE")
    assert ok.headers.get("Contact") == f"<sip:1000@{HOST}:{daemon.port + 1};transport=tls>"
    sent = [passed.message for passed in daemon.of(call_id) if passed.direction == "out" and isinstance(passed.message, Request)]
    assert {request.method for request in sent} == {"REFER", "BYE"}
    assert all("alias" in request.via.params for request in sent)
    assert daemon.daemon.agent.transports.counters["handshakes_failed"] == 0


async def test_a_registration_over_tls_holds_and_calls_come_by_it(ami: Ami, asterisk: Asterisk) -> None:
    uri = f"sip:{HOST}:{asterisk.ports.tls};transport=tls"
    peer = Peer(name="pbx", match=("127.0.0.0/8",), uri=uri, username="cxmld", password=SecretStr("cxmld-secret"), register=True)
    async with daemon_under_test(tls=certificates(asterisk), peers=(peer,)) as daemon:
        await until(lambda: daemon.daemon.observer.registered == {"pbx": True}, "a registration")
        await transferred(ami, asterisk, daemon, "PJSIP/cxmld", "cxmld")
        assert {passed.message.via.transport for passed in daemon.traffic} == {"TLS"}


async def test_a_certificate_for_another_name_gets_no_call_from_the_pbx(ami: Ami, asterisk: Asterisk) -> None:
    """Asterisk ends the handshake, looks at the name then, and closes: only its own log says why."""
    mark = asterisk.log_size()
    async with daemon_under_test(tls=certificates(asterisk, "elsewhere.example")) as daemon:
        transports = daemon.daemon.agent.transports
        call = await call_daemon(ami, trunk("1000", daemon.port + 1, transport="tls"))
        await until(lambda: transports.counters["accepted"] > 0 and transports.connections == 0, "a connection that is closed again")
        await until(lambda: "The server identity does not match" in asterisk.log_since(mark), "the reason in the PBX's log")
        assert (daemon.app.hits, daemon.traffic) == ([], [])
        await call.hang_up()


async def test_a_pbx_of_another_authority_is_not_let_in(ami: Ami, asterisk: Asterisk, caplog: pytest.LogCaptureFixture) -> None:
    other = type(asterisk.authority)(asterisk.authority.folder)
    async with daemon_under_test(tls=certificates(asterisk, ca_file=str(other.file))) as daemon:
        call = await call_daemon(ami, trunk("1000", daemon.port + 1, transport="tls"))
        await until(lambda: "failed (unknown_ca)" in caplog.text, "a failed handshake")
        assert daemon.app.hits == []
        await call.hang_up()
