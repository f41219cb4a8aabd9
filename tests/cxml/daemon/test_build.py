"""The composition root: every setting reaches the part that it is for."""

import pytest
from pydantic import SecretStr

from cxml.access.peers import Peer
from cxml.calls.facts import SidStyle
from cxml.daemon.build import Daemon, build
from cxml.daemon.config import Account, Config, Limits, Media, Refer, Sip, Voice, Webhook
from cxml.daemon.config import Peer as PeerConfig
from cxml.interpreter.context import OnBye
from sipua.transport.base import Endpoint
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.machine.reliable_uas import ReliableUse
from sipua.usage.call.media import MediaMode
from tests.support.messages import request


async def made(**sections: object) -> Daemon:
    """Build, in a loop."""
    return build(Config(**{"voice": Voice(url="http://app.test/voice"), "media": Media(mode=MediaMode.NONE), **sections}))  # type: ignore[arg-type]


def found(daemon: Daemon, host: str) -> Peer | None:
    return daemon.service._peers.find(Endpoint("UDP", host, 5060))  # what was built is the question


async def test_without_peers_only_this_machine_may_call() -> None:
    daemon = await made()
    assert found(daemon, "127.0.0.1") is not None
    assert found(daemon, "10.0.0.1") is None


async def test_a_peer_has_its_networks_passwords_and_its_own_rules() -> None:
    strict = PeerConfig(
        name="strict",
        match=("10.0.0.5",),
        username="u",
        password=SecretStr("p"),
        notify_timeout_s=7,
        on_bye=OnBye.SUCCESS,
        allow=("sip:1*",),
        settle_s=0.0,
        bye_grace_s=1.0,
    )
    plain = PeerConfig(name="plain", match=("10.0.0.0/8",))
    daemon = await made(peers=(strict, plain), refer=Refer(notify_timeout_s=30, allow=("sip:2*",)))
    one, two = found(daemon, "10.0.0.5"), found(daemon, "10.9.9.9")
    assert one is not None
    assert two is not None
    assert (one.name, two.name) == ("strict", "plain")
    assert (one.refer.settings.notify_timeout_s, one.refer.settings.bye_grace_s) == (7, 1.0)
    assert (one.refer.on_bye, one.refer.settle_s) == ("success", 0.0)
    assert one.refer.is_allowed("sip:100@x")
    assert not one.refer.is_allowed("sip:200@x")
    assert [(credential.username, credential.password) for credential in one.credentials] == [("u", "p")]
    assert (two.refer.settings.notify_timeout_s, two.credentials) == (30, ())
    assert two.refer.is_allowed("sip:200@x")
    invite = request("INVITE")
    assert list(daemon.service.credentials_for(invite)) == []
    invite.sender = "strict"
    assert list(daemon.service.credentials_for(invite)) == list(one.credentials)


async def test_session_timers_are_those_of_the_daemon_or_of_the_peer() -> None:
    own = PeerConfig(name="own", match=("10.0.0.5",), session_expires_s=0)
    plain = PeerConfig(name="plain", match=("10.0.0.0/8",))
    daemon = await made(peers=(own, plain), sip=Sip(session_expires_s=600, min_se_s=100))
    assert daemon.agent.settings.timer == TimerSettings(600, 100)
    assert daemon.agent.timer_for(Endpoint("UDP", "10.0.0.5", 1)) == TimerSettings(0, 100)
    assert daemon.agent.timer_for(Endpoint("UDP", "10.0.0.6", 1)) is None
    assert daemon.agent.timer_for(Endpoint("UDP", "192.0.2.1", 1)) is None


async def test_webhook_settings_and_secrets_reach_the_client() -> None:
    account = Account(sid="AC9", auth_token=SecretStr("t0ken"), signing_key=SecretStr("k3y"), sid_style=SidStyle.TWILIO)
    webhook = Webhook(connect_timeout_s=1, read_timeout_s=2, total_timeout_s=3, max_redirects=1, max_body_bytes=1000)
    daemon = await made(account=account, webhook=webhook, sip=Sip(user_agent="agent/1"))
    settings = daemon.webhooks.settings
    assert (settings.connect_timeout_s, settings.read_timeout_s, settings.total_timeout_s) == (1, 2, 3)
    assert (settings.max_redirects, settings.max_body_bytes) == (1, 1000)
    assert (settings.account_sid, settings.auth_token, settings.signing_key) == ("AC9", "t0ken", "k3y")
    assert settings.user_agent == "agent/1"
    await daemon.webhooks.aclose()


async def test_limits_reach_registry_and_engine() -> None:
    daemon = await made(limits=Limits(max_calls=1, max_calls_per_s=1, max_verbs=5, max_documents=6))
    assert daemon.registry.may_begin() == ""
    assert daemon.registry.may_begin() == "max_calls"
    engine = daemon.service._voice.engine  # what was built is the question
    assert (engine.max_verbs, engine.max_documents) == (5, 6)


@pytest.mark.parametrize("mode", list(MediaMode))
async def test_every_media_mode_can_be_built(mode: MediaMode) -> None:
    daemon = await made(media=Media(mode=mode, rtp_ports=(30000, 30001)))
    assert daemon.agent.settings.media.mode is mode


async def test_the_setting_for_reliable_provisional_responses_reaches_the_agent() -> None:
    daemon = await made(sip=Sip(reliable_provisional=ReliableUse.NEVER))
    assert daemon.agent.settings.reliable_provisional is ReliableUse.NEVER


async def test_a_peer_is_believed_only_when_it_is_trusted() -> None:
    known = PeerConfig(name="pbx", match=("10.0.0.1",), trusted=True)
    daemon = await made(peers=(known, PeerConfig(name="other", match=("10.0.0.2",))))
    believed = [peer.is_trusted for host in ("10.0.0.1", "10.0.0.2") if (peer := found(daemon, host)) is not None]
    assert believed == [True, False]
