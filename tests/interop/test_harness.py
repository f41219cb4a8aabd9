"""The peers work by themselves: whatever fails here is not the daemon's fault."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support import sipp as sipp_runner
from tests.support.ami import Ami, AmiError
from tests.support.asterisk import Asterisk
from tests.support.peers import free_port, is_bound

pytestmark = pytest.mark.usefixtures("sipp")

HERE = Path(__file__).parent


def options(local_port: int, asterisk: Asterisk, transport: str) -> bytes:
    """Return an OPTIONS request for the PBX."""
    lines = [
        f"OPTIONS sip:{asterisk.host}:{asterisk.ports.sip} SIP/2.0",
        f"Via: SIP/2.0/{transport} 127.0.0.1:{local_port};rport;branch=z9hG4bKharness{transport}{local_port}",
        "Max-Forwards: 70",
        "From: <sip:probe@127.0.0.1>;tag=harness",
        "To: <sip:127.0.0.1>",
        f"Call-ID: harness-{local_port}-{transport}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_asterisk_answers_options_over_udp(asterisk: Asterisk) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(5)
        client.sendto(options(client.getsockname()[1], asterisk, "UDP"), (asterisk.host, asterisk.ports.sip))
        assert client.recv(65536).startswith(b"SIP/2.0 200 ")


def test_asterisk_answers_options_over_tcp(asterisk: Asterisk) -> None:
    with socket.create_connection((asterisk.host, asterisk.ports.sip), timeout=5) as client:
        client.sendall(options(client.getsockname()[1], asterisk, "TCP"))
        assert client.recv(65536).startswith(b"SIP/2.0 200 ")


def test_the_console_answers(asterisk: Asterisk) -> None:
    assert "cxmld-trunk-tcp" in asterisk.rx("pjsip show endpoints")


async def test_the_manager_interface_answers_several_actions_at_once(ami: Ami) -> None:
    version, uptime, channels = await asyncio.gather(ami.command("core show version"), ami.command("core show uptime"), ami.channels())
    assert "Asterisk 2" in version
    assert "uptime" in uptime
    assert channels == []


async def test_the_manager_interface_refuses_a_wrong_action(ami: Ami) -> None:
    with pytest.raises(AmiError, match="NoSuchAction"):
        await ami.action("NoSuchAction")


async def test_ari_answers(asterisk: Asterisk) -> None:
    reader, writer = await asyncio.open_connection(asterisk.host, asterisk.ports.http)
    writer.write(b"GET /ari/channels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic Y3htbGQ6Y3htbGQ=\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b"\r\n")[0].endswith(b"200 OK")
    assert answer.endswith(b"[]")


async def test_a_phone_called_by_the_pbx_is_seen_as_a_channel(ami: Ami) -> None:
    async with sipp_runner.target("200") as phone:
        await ami.call(f"PJSIP/external/sip:caller@127.0.0.1:{phone.port}", "silent")
        channel = await ami.wait_channel(name="PJSIP/external-", is_up=True)
        assert (channel.context, channel.exten, channel.application) == ("callers", "silent", "Wait")
        await ami.hang_up_all()
        (await phone.wait()).check()


async def test_wait_channel_says_what_it_saw(ami: Ami) -> None:
    with pytest.raises(AssertionError, match=r"(?s)a channel with .*nowhere.*none"):
        await ami.wait_channel(exten="nowhere", timeout_s=0.1)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_a_phone_calls_an_extension(asterisk: Asterisk, tcp: bool) -> None:
    await check_call(asterisk, "plays", tcp=tcp)


async def check_call(asterisk: Asterisk, extension: str, *, tcp: bool) -> None:
    """Call the extension, talk for half a second, hang up."""
    address = (asterisk.host, asterisk.ports.sip)
    (await sipp_runner.run("uac-call.xml", remote=address, tcp=tcp, service=extension)).check()


@pytest.mark.parametrize(
    ("extension", "code"),
    [("busy", "486"), ("congestion", "503"), ("declines", "603"), ("rejects", "403"), ("unallocated", "404"), ("unknown", "404")],
)
async def test_an_extension_refuses_truthfully(asterisk: Asterisk, extension: str, code: str) -> None:
    address = (asterisk.host, asterisk.ports.sip)
    (await sipp_runner.run("uac-refused.xml", remote=address, service=extension, fill={"CODE": code})).check()


async def test_true_extension_passes_on_what_the_phone_says(asterisk: Asterisk) -> None:
    async with sipp_runner.target("486") as phone:
        address = (asterisk.host, asterisk.ports.sip)
        result = await sipp_runner.run("uac-refused.xml", remote=address, service=f"true-{phone.port}", fill={"CODE": "486"})
        result.check()
        (await phone.wait()).check()


@pytest.mark.parametrize(("user", "tcp"), [("cxmld", False), ("cxmld-tcp", True)], ids=["udp", "tcp"])
async def test_a_user_registers_by_digest(asterisk: Asterisk, user: str, tcp: bool) -> None:
    address = (asterisk.host, asterisk.ports.sip)
    result = await sipp_runner.run(
        "uac-register.xml", remote=address, tcp=tcp, service=user, fill={"USER": user, "PASSWORD": "cxmld-secret"}
    )
    result.check()


async def test_a_wrong_password_does_not_register(asterisk: Asterisk) -> None:
    address = (asterisk.host, asterisk.ports.sip)
    result = await sipp_runner.run("uac-register.xml", remote=address, service="cxmld-tcp", fill={"USER": "cxmld-tcp", "PASSWORD": "wrong"})
    assert result.exit_code != 0
    assert "401" in result.errors
    with pytest.raises(sipp_runner.SippError):
        result.check()


@pytest.mark.parametrize("trunk", ["udp", "tcp"])
async def test_the_pbx_calls_an_agent_on_its_trunk(ami: Ami, trunk: str) -> None:
    async with sipp_runner.scenario(HERE / "asterisk/sipp/uas-answer.xml", tcp=trunk == "tcp") as agent:
        await ami.originate(f"{trunk}-{agent.port}", "silent")
        channel = await ami.wait_channel(name="PJSIP/cxmld-trunk-", is_up=True)
        assert channel.bridge
        await ami.hang_up_all()
        assert f"SIP/2.0/{trunk.upper()}" in (await agent.wait()).check().messages


async def test_a_caller_is_connected_to_the_phone_that_answers(asterisk: Asterisk, ami: Ami) -> None:
    async with sipp_runner.target("200") as phone:
        address = (asterisk.host, asterisk.ports.sip)
        async with sipp_runner.scenario("uac-call.xml", remote=address, service=f"true-{phone.port}") as caller:
            first, second = await ami.wait_until(
                lambda channels: len(channels) == 2 and all(channel.bridge for channel in channels), "two bridged channels"
            )
            assert first.bridge == second.bridge
            (await caller.wait()).check()
        (await phone.wait()).check()


async def test_two_scenarios_talk_to_each_other() -> None:
    async with sipp_runner.target("200") as phone:
        (await sipp_runner.run("uac-call.xml", remote=("127.0.0.1", phone.port), service="target")).check()
        (await phone.wait()).check()


def test_a_free_port_is_free_until_someone_takes_it() -> None:
    port = free_port()
    assert not is_bound(port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        assert is_bound(port)
