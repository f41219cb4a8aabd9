"""Runs the daemon: start, signals, drain, close. One readable function."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial

import structlog

from cxml.api.readiness import Readiness
from cxml.daemon.build import Daemon, Place, build, credentials_of
from cxml.daemon.config import Config, Peer
from cxml.daemon.garbage import own_rhythm
from cxml.daemon.load import LoadWatch
from cxml.daemon.metrics import Held
from cxml.errors import CxmlError
from sipua.driver import TaskSet
from sipua.errors import SipError
from sipua.timers import Timing
from sipua.transport.certificates import CertificateError
from sipua.transport.network import Network

log = structlog.get_logger(__name__)

SLACK_S = 1.0
"""What the last requests of a call may take besides the times that are bounded by settings."""

CLOSE_LIMIT_S = 4.0
"""How long un-registering and the answers to our last BYEs may take."""

RETRY_REGISTRAR_S = 30.0
"""How long to wait before a registrar is looked up again that could not be reached at all."""

Facts = dict[str, object]


class StartError(CxmlError):
    """The daemon can't start; the text names the setting."""


async def serve(config: Config, *, ready: Callable[[Facts], None] | None = None, stop: asyncio.Event | None = None) -> None:
    """Run the daemon until SIGTERM, SIGINT or *stop*, then drain and close.

    *ready* is told the endpoints once calls are taken. Raises :class:`StartError` when a listener can't be opened.
    """
    stop = stop or asyncio.Event()
    async with running(config) as (daemon, facts), rhythm(daemon):
        with _signals(stop, daemon):
            log.info("daemon_ready", **facts)
            if ready is not None:
                ready(facts)
            await stop.wait()
            await drain(daemon, config)
    log.info("daemon_stopped")


def rhythm(daemon: Daemon) -> AbstractAsyncContextManager[None]:
    """Return what sets the pace of Python's collector, or of PyPy's compiler, while *daemon* runs."""
    calls = daemon.registry
    return own_rhythm(calls=lambda: len(calls), begun=lambda: calls.begun, told=daemon.metrics.collected)


async def drain(daemon: Daemon, config: Config) -> None:
    """Take no new calls and wait for the running ones, as long as the settings say."""
    limit = config.sip.drain_timeout_s
    log.info("draining", calls=len(daemon.registry), limit_s=limit)
    ended = await daemon.registry.drain(limit, end_grace_s(config))
    log.info("drained", calls_ended=ended)


def end_grace_s(config: Config) -> float:
    """Return how long a call that shutdown ends may take, in seconds: to the outcome of its transfer, and for the action request.

    The outcome comes T4 after our BYE at the latest, and after the wait for a late NOTIFY if the peer hung up (docs/spec/refer.md). The
    action request may take its whole time, and the request to the fallback URL that follows a failure as much again.
    """
    graces = [config.refer.bye_grace_s, *(peer.bye_grace_s or 0.0 for peer in config.peers)]
    requests = 2 if config.voice.fallback_url else 1
    return Timing().t4 + max(graces) + requests * config.webhook.total_timeout_s + SLACK_S


@asynccontextmanager
async def running(config: Config, network: Network | None = None, place: Place | None = None) -> AsyncIterator[tuple[Daemon, Facts]]:
    """Start the daemon's parts and close them, in order, at the end; gives the parts and the endpoints."""
    try:
        daemon = build(config, network, place)
    except CertificateError as error:
        raise StartError(f"[tls] {error.setting}: {error}") from error
    async with AsyncExitStack() as stack:
        stack.push_async_callback(daemon.webhooks.aclose)
        try:
            await daemon.agent.start()
        except SipError as error:
            raise StartError(f"[sip] listen: {error}") from error
        stack.push_async_callback(daemon.agent.aclose, CLOSE_LIMIT_S)
        daemon.metrics.watch_transport(lambda: daemon.agent.transports.counters)
        daemon.metrics.watch_transactions(lambda: asdict(daemon.agent.transactions.statistics))
        daemon.metrics.watch_calls(lambda: asdict(daemon.agent.core.statistics))
        daemon.metrics.watch_dns(lambda: daemon.agent.transports.resolver.counters)
        daemon.metrics.watch_failovers(lambda: daemon.agent.exchanger.failovers)
        daemon.metrics.watch_held(lambda: held(daemon))
        facts: Facts = {"sip": [str(endpoint) for endpoint in daemon.agent.endpoints]}
        if config.http.address is not None:
            from cxml.daemon.http_side import open_http  # noqa: PLC0415  # a worker has none, and starts sooner without

            facts |= await open_http(stack, config, lambda: readiness(daemon), daemon.metrics)
        tasks = TaskSet()
        watch = LoadWatch(daemon.load.controller, daemon.load.account, sheds=config.limits.shed_on_lag)
        tasks.spawn(watch.run(), name="load watch")
        stack.push_async_callback(tasks.aclose)  # a registrar that can't be reached doesn't hold up the end
        for peer in config.peers:
            if peer.is_registering:
                daemon.observer.registration_begins(peer.name)
                tasks.spawn(_register(daemon, peer), name=f"register at {peer.name}")
        if daemon.keeper is not None:
            tasks.spawn(daemon.keeper.watch(), name="watch of our certificate")
        yield daemon, facts


def held(daemon: Daemon) -> Held:
    """Count what the daemon holds now."""
    agent = daemon.agent
    ports = agent.settings.media.ports
    return Held(
        server_transactions=agent.transactions.server_count,
        client_transactions=agent.transactions.client_count,
        dialogs=len(agent.dialogs),
        connections=agent.transports.connections,
        rtp_ports=0 if ports is None else ports.lent,
        tasks=len(asyncio.all_tasks()),
    )


def readiness(daemon: Daemon) -> Readiness:
    """Say whether calls are taken, and if not, why."""
    reasons = []
    if daemon.registry.is_draining:
        reasons.append("draining")
    if not daemon.agent.endpoints:
        reasons.append("no SIP listener")
    reasons += [f"not registered at {name}" for name, up in daemon.observer.registered.items() if not up]
    return Readiness(tuple(reasons), daemon.load.account.reasons)


async def _register(daemon: Daemon, peer: Peer) -> None:
    """Register at a peer; one that can't be reached at all is tried again, since names and routes come back."""
    while True:
        try:
            await daemon.agent.register(
                peer.uri,
                credentials=credentials_of(peer),
                user=peer.username,
                expires_s=peer.register_expires_s,
                on_state=partial(daemon.observer.registration_changed, peer.name),
            )
        except (SipError, ValueError) as error:
            log.warning("registrar_unreachable", peer=peer.name, uri=peer.uri, detail=str(error), retry_s=RETRY_REGISTRAR_S)
            await asyncio.sleep(RETRY_REGISTRAR_S)
        else:
            return


def reload(daemon: Daemon) -> None:
    """Read certificates again."""
    if daemon.keeper is None:
        log.info("nothing_to_reload", detail="no setting asks for TLS; other settings are read at the start only")
    else:
        daemon.keeper.reload()


@contextmanager
def _signals(stop: asyncio.Event, daemon: Daemon) -> Iterator[None]:
    """SIGTERM and SIGINT set *stop* while the block runs; a second one ends the wait for running calls.

    SIGHUP reads certificates again.
    """
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            daemon.registry.hurry()
        stop.set()

    handlers = {signal.SIGTERM: received, signal.SIGINT: received, signal.SIGHUP: lambda: reload(daemon)}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
