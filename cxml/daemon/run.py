"""Runs the daemon: start, signals, drain, close. One readable function."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial

import structlog

from cxml.api.app import make_app
from cxml.api.health import Readiness
from cxml.api.server import serve as serve_http
from cxml.calls.registry import Registry
from cxml.daemon.build import Daemon, build, credentials_of
from cxml.daemon.config import Config
from cxml.daemon.config_model import Peer
from cxml.errors import CxmlError
from sipua.driver import TaskSet
from sipua.errors import SipError
from sipua.timers import Timing
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
    async with running(config) as (daemon, facts):
        with _signals(stop, daemon.registry):
            log.info("daemon_ready", **facts)
            if ready is not None:
                ready(facts)
            await stop.wait()
            limit = config.sip.drain_timeout_s
            log.info("draining", calls=len(daemon.registry), limit_s=limit)
            ended = await daemon.registry.drain(limit, end_grace_s(config))
            log.info("drained", calls_ended=ended)
    log.info("daemon_stopped")


def end_grace_s(config: Config) -> float:
    """Return how long a call that shutdown ends may take, in seconds: to the outcome of its transfer, and for the action request.

    The outcome comes T4 after our BYE at the latest, and after the wait for a late NOTIFY if the peer hung up (docs/spec/refer.md). The
    action request may take its whole time, and the request to the fallback URL that follows a failure as much again.
    """
    graces = [config.refer.bye_grace_s, *(peer.bye_grace_s or 0.0 for peer in config.peers)]
    requests = 2 if config.voice.fallback_url else 1
    return Timing().t4 + max(graces) + requests * config.webhook.total_timeout_s + SLACK_S


@asynccontextmanager
async def running(config: Config, network: Network | None = None) -> AsyncIterator[tuple[Daemon, Facts]]:
    """Start the daemon's parts and close them, in order, at the end; gives the parts and the endpoints."""
    daemon = build(config, network)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(daemon.webhooks.aclose)
        try:
            await daemon.agent.start()
        except SipError as error:
            raise StartError(f"[sip] listen: {error}") from error
        stack.push_async_callback(daemon.agent.aclose, CLOSE_LIMIT_S)
        daemon.metrics.watch_transport(lambda: daemon.agent.transports.counters)
        daemon.metrics.watch_transactions(lambda: asdict(daemon.agent.transactions.statistics))
        facts: Facts = {"sip": [str(endpoint) for endpoint in daemon.agent.endpoints]}
        address = config.http.address
        if address is not None:
            app = make_app(lambda: readiness(daemon), daemon.metrics)
            try:
                server = await stack.enter_async_context(serve_http(app, *address))
            except OSError as error:
                raise StartError(f"[http] listen: {config.http.listen}: {error.strerror or error}") from error
            facts["http"] = f"{server.host}:{server.port}"
        tasks = TaskSet()
        stack.push_async_callback(tasks.aclose)  # a registrar that can't be reached doesn't hold up the end
        for peer in config.peers:
            if peer.is_registering:
                daemon.observer.registration_begins(peer.name)
                tasks.spawn(_register(daemon, peer), name=f"register at {peer.name}")
        yield daemon, facts


def readiness(daemon: Daemon) -> Readiness:
    """Say whether calls are taken, and if not, why."""
    reasons = []
    if daemon.registry.is_draining:
        reasons.append("draining")
    if not daemon.agent.endpoints:
        reasons.append("no SIP listener")
    reasons += [f"not registered at {name}" for name, up in daemon.observer.registered.items() if not up]
    return Readiness(tuple(reasons))


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


@contextmanager
def _signals(stop: asyncio.Event, registry: Registry) -> Iterator[None]:
    """SIGTERM and SIGINT set *stop* while the block runs; a second one ends the wait for running calls."""
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            registry.hurry()
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, received)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
