"""The composition root: the only place that constructs the daemon's parts from its configuration."""

import asyncio
import random
import secrets
from dataclasses import dataclass

from cxml.calls.peers import LOOPBACK, Peer, Peers, ReferRules
from cxml.calls.registry import CallLimits, Registry
from cxml.calls.service import CallService, Voice
from cxml.daemon.config import Config
from cxml.daemon.config_model import Peer as PeerConfig
from cxml.daemon.config_model import Refer
from cxml.daemon.metrics import Metrics
from cxml.daemon.observer import MetricsObserver
from cxml.interpreter.context import EngineSettings
from cxml.services.journal_memory import MemoryJournal
from cxml.services.settings import WebhookSettings
from cxml.services.webhook import WebhookClient
from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import SilenceClock
from sipua.timers import Timing
from sipua.transport.network import AsyncioNetwork, Network
from sipua.usage.call.core import CallSettings
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.subscription.refer import ReferSettings


@dataclass(slots=True)
class Daemon:
    """The parts of a running daemon, not started yet."""

    config: Config
    agent: UserAgent
    service: CallService
    registry: Registry
    webhooks: WebhookClient
    metrics: Metrics
    observer: MetricsObserver


def build(config: Config, network: Network | None = None) -> Daemon:
    """Construct everything from *config*, inside the running loop; nothing is opened yet.

    *network* replaces the operating system's (tests).
    """
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    observer = MetricsObserver(metrics)
    webhooks = WebhookClient(_webhook_settings(config), on_exchange=observer.webhook_exchanged)
    registry = Registry(CallLimits(config.limits.max_calls, config.limits.max_calls_per_s), loop.time)
    peers = Peers([_peer(peer, config) for peer in config.peers] or [Peer("loopback", LOOPBACK, refer=_rules(config.refer))])
    voice = Voice(
        url=config.voice.url,
        method=config.voice.method,
        engine=EngineSettings(
            fallback_url=config.voice.fallback_url,
            fallback_method=config.voice.fallback_method,
            max_verbs=config.limits.max_verbs,
            max_documents=config.limits.max_documents,
        ),
        account_sid=config.account.sid,
        sid_style=config.account.sid_style,
    )
    service = CallService(peers, registry, webhooks, MemoryJournal(), voice, observer, loop.time)
    agent = UserAgent(
        listen=config.sip.listen,
        advertised_host=config.sip.advertised_host,
        settings=CallSettings(media=_media(config, loop), timing=Timing()),
        network=network or AsyncioNetwork(),
        user_agent=config.sip.user_agent,
        max_connections=config.limits.max_connections,
        max_message_bytes=config.limits.max_message_bytes,
        rng=random.Random(secrets.randbits(128)),
    )
    agent.on_call = service.handle
    agent.availability = service.availability
    agent.credentials_for = service.credentials_for
    return Daemon(config, agent, service, registry, webhooks, metrics, observer)


def credentials_of(peer: PeerConfig) -> tuple[Credential, ...]:
    """Return the passwords of a configured peer."""
    password = peer.password.get_secret_value()
    return (Credential(peer.username, password),) if peer.username and password else ()


def _peer(peer: PeerConfig, config: Config) -> Peer:
    return Peer(peer.name, peer.networks, credentials_of(peer), _rules(config.refer_for(peer)))


def _rules(refer: Refer) -> ReferRules:
    return ReferRules(
        settings=ReferSettings(notify_timeout_s=refer.notify_timeout_s, bye_grace_s=refer.bye_grace_s),
        on_bye=str(refer.on_bye),
        settle_s=refer.settle_s,
        is_allowed=refer.is_allowed,
    )


def _webhook_settings(config: Config) -> WebhookSettings:
    limits = config.webhook
    return WebhookSettings(
        connect_timeout_s=limits.connect_timeout_s,
        read_timeout_s=limits.read_timeout_s,
        total_timeout_s=limits.total_timeout_s,
        max_redirects=limits.max_redirects,
        max_body_bytes=limits.max_body_bytes,
        account_sid=config.account.sid,
        auth_token=config.account.auth_token.get_secret_value(),
        signing_key=config.account.signing_key.get_secret_value(),
        user_agent=config.sip.user_agent or "cxmld",
    )


def _media(config: Config, loop: asyncio.AbstractEventLoop) -> MediaSettings:
    mode = config.media.mode
    if mode is MediaMode.NONE:
        return MediaSettings()
    low, high = config.media.rtp_ports
    ports = PortAllocator(low, high, offset=random.SystemRandom().randrange((high - low) // 2 or 1))
    return MediaSettings(mode, ports, SilenceClock(loop) if mode is MediaMode.SILENCE else None)
