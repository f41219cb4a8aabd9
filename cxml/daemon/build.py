"""The composition root: the only place that constructs the daemon's parts from its configuration."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cxml.access.gate import Gate
from cxml.access.peers import LOOPBACK, Peer, Peers, Proof, ReferRules
from cxml.access.rules import AccessRules
from cxml.access.sources import BanRules
from cxml.access.told import ToldRefusals
from cxml.calls.registry import CallLimits, Elsewhere, Registry
from cxml.calls.service import CallService, Load, Voice
from cxml.daemon.certificates import CertificateKeeper, make_tls
from cxml.daemon.config import Access, Config, Refer
from cxml.daemon.config import Peer as PeerConfig
from cxml.daemon.logging import lines_dropped
from cxml.daemon.metrics import Metrics
from cxml.daemon.observer import MetricsObserver
from cxml.interpreter.context import EngineSettings
from cxml.services.settings import WebhookSettings
from cxml.services.webhook import WebhookClient
from sipua.agent import UserAgent
from sipua.auth import Account, Credential
from sipua.entropy import system_bits
from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import SilenceClock
from sipua.timers import Timing
from sipua.transport.locate import DnsSettings
from sipua.transport.network import Network
from sipua.transport.tls import Tls
from sipua.transport.triage import StrangerLimits
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.subscription.refer import ReferSettings


@dataclass(slots=True)
class Daemon:
    """The parts of a running daemon, not started yet."""

    config: Config
    agent: UserAgent
    gate: Gate
    service: CallService
    registry: Registry
    webhooks: WebhookClient
    metrics: Metrics
    observer: MetricsObserver
    load: Load
    keeper: CertificateKeeper | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among several: its number, and what the others count under the limit of a peer, ``""`` for that of all."""

    worker: int
    elsewhere: Callable[[str], Elsewhere | None]


def build(config: Config, network: Network | None = None, place: Place | None = None) -> Daemon:
    """Construct everything from *config*, inside the running loop; nothing is opened yet.

    *network* replaces the operating system's (tests, workers), *place* is that of one worker of several.
    """
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    metrics.watch_log(lines_dropped)
    observer = MetricsObserver(metrics)
    webhooks = WebhookClient(_webhook_settings(config), on_exchange=observer.webhook_exchanged)
    limits = config.limits
    registry = _registry(config, loop, place)
    load = Load(max_call_s=limits.max_call_s)
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
    service = CallService(peers, registry, webhooks, None, voice, observer, loop.time, load)
    gate = Gate(peers, observer, loop.time, _access(config.access))
    metrics.watch_bans(gate.banned_count)
    gate.checks.append(service.check)
    tls = make_tls(config)
    keeper = None if tls is None else CertificateKeeper(tls, config.tls.expiry_warning_days, metrics)
    if tls is not None:
        metrics.watch_handshakes(lambda: tls.failures)
    agent = build_agent(config, network, tls=tls, worker=None if place is None else place.worker)
    agent.on_call = service.handle
    agent.admit = gate.admit
    agent.may_answer = gate.may_answer
    agent.on_refused = ToldRefusals(lambda host: peer.name if (peer := peers.at(host)) else "", loop.time).tell
    agent.intake.limits = StrangerLimits(limits.max_source_datagrams_per_s, limits.max_stranger_datagrams_per_s)
    agent.intake.is_known = lambda host: gate.is_known(host) or registry.has_caller(host)
    agent.credentials_for = service.credentials_for
    agent.timer_for = service.timer_for
    load.account.watch(agent.intake.shed)
    metrics.watch_shed(load.account.all)
    return Daemon(config, agent, gate, service, registry, webhooks, metrics, observer, load, keeper)


def build_agent(
    config: Config,
    network: Network | None = None,
    *,
    tls: Tls | None = None,
    listen: tuple[str, ...] = (),
    identity: str = "",
    credentials: tuple[Credential, ...] = (),
    media: MediaSettings | None = None,
    worker: int | None = None,
) -> UserAgent:
    """Construct the daemon's user agent, or with *listen*, *identity*, *credentials* and *media* one like it for another purpose."""
    loop = asyncio.get_running_loop()
    settings = _call_settings(config, loop)
    settings.media = media or settings.media
    return UserAgent(
        listen=listen or config.sip.listen,
        advertised_host=config.sip.advertised_host,
        identity=identity,
        credentials=credentials,
        settings=settings,
        network=network,
        dns=_dns(config) if network is None or worker is not None else None,
        user_agent=config.sip.user_agent,
        max_connections=config.limits.max_connections,
        max_per_address=config.limits.max_connections_per_address,
        first_message_s=config.limits.first_message_timeout_s,
        max_message_bytes=config.limits.max_message_bytes,
        max_transactions=config.limits.max_transactions,
        tls=tls,
        worker=worker,
        rng=system_bits,  # tags and Call-IDs are all that keeps strangers out of a dialog: none may follow from others
    )


def _registry(config: Config, loop: asyncio.AbstractEventLoop, place: Place | None) -> Registry:
    own = {peer.name: CallLimits(peer.max_calls or 0, peer.max_calls_per_s or 0) for peer in config.peers}
    all_calls = CallLimits(config.limits.max_calls, config.limits.max_calls_per_s)
    return Registry(all_calls, loop.time, own) if place is None else Registry(all_calls, loop.time, own, place.elsewhere)


def credentials_of(peer: PeerConfig) -> tuple[Credential, ...]:
    """Return the passwords of a configured peer."""
    password = peer.password.get_secret_value()
    return (Credential(peer.username, password),) if peer.username and password else ()


def _peer(peer: PeerConfig, config: Config) -> Peer:
    timer = None if peer.session_expires_s is None else _timer(peer.session_expires_s, config)
    return Peer(
        peer.name,
        peer.networks,
        credentials_of(peer),
        _rules(config.refer_for(peer)),
        timer,
        is_trusted=peer.is_trusted,
        proof=peer.auth,
        account=None if peer.auth is Proof.ADDRESS else Account(peer.inbound_user, peer.inbound_secret),
        certificates=peer.certificate,
    )


def _access(access: Access) -> AccessRules:
    return AccessRules(
        strangers=access.strangers,
        realm=access.realm,
        algorithms=access.algorithms,
        nonce_lifetime_s=access.nonce_lifetime_s,
        bans=BanRules(access.max_failures, access.failure_window_s, access.ban_s, access.spared),
        max_answers_per_s=access.max_answers_per_s,
    )


def _timer(expires_s: int, config: Config) -> TimerSettings:
    return TimerSettings(expires_s, config.sip.min_se_s)


def _dns(config: Config) -> DnsSettings:
    limits = config.dns
    return DnsSettings(limits.servers, limits.timeout_s, limits.naptr, limits.max_names, limits.max_ttl_s)


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
        allow_hosts=limits.allow_hosts,
        allow_private=limits.allow_private,
        account_sid=config.account.sid,
        auth_token=config.account.auth_token.get_secret_value(),
        signing_key=config.account.signing_key.get_secret_value(),
        user_agent=config.sip.user_agent or "cxmld",
    )


def _call_settings(config: Config, loop: asyncio.AbstractEventLoop) -> CallSettings:
    return CallSettings(
        media=_media(config, loop),
        timing=Timing(),
        timer=_timer(config.sip.session_expires_s, config),
        reliable_provisional=config.sip.reliable_provisional,
    )


def _media(config: Config, loop: asyncio.AbstractEventLoop) -> MediaSettings:
    mode = config.media.mode
    if mode is MediaMode.NONE:
        return MediaSettings()
    low, high = config.media.rtp_ports
    ports = PortAllocator(low, high, offset=system_bits.randrange((high - low) // 2 or 1))
    return MediaSettings(mode, ports, SilenceClock(loop) if mode is MediaMode.SILENCE else None)
