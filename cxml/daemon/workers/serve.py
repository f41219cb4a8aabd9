"""``cxmld serve`` with several workers: the parent's start, signals and end."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

import structlog

from cxml.daemon.certificates import make_tls
from cxml.daemon.config import Config
from cxml.daemon.http_side import open_http
from cxml.daemon.run import CLOSE_LIMIT_S, SLACK_S, Facts, StartError, end_grace_s
from cxml.daemon.runtime import settle
from cxml.daemon.workers.board import Board
from cxml.daemon.workers.sockets import Sockets, open_sockets
from cxml.daemon.workers.supervisor import Supervisor
from sipua.transport.certificates import CertificateError

log = structlog.get_logger(__name__)


async def serve_workers(config: Config, *, ready: Callable[[Facts], None] | None = None, stop: asyncio.Event | None = None) -> None:
    """Run the daemon with its workers until SIGTERM, SIGINT or *stop*, then drain and close.

    *ready* is told the endpoints once calls are taken. Raises :class:`StartError` when a listener can't be opened, and
    :class:`cxml.daemon.workers.supervisor.WorkersError` when a worker doesn't start.
    """
    stop = stop or asyncio.Event()
    settle()  # its workers take the calls
    async with AsyncExitStack() as stack:
        sockets = _open(config, stack.enter_context(ExitStack()))
        board = Board.make(config.workers.count, [peer.name for peer in config.peers])
        stack.callback(board.close)
        supervisor = Supervisor(config, sockets, board)
        facts: Facts = {"sip": list(sockets.listen), **await open_http(stack, config, supervisor.readiness, supervisor)}
        stack.push_async_callback(supervisor.aclose)
        with _signals(stop, supervisor):
            await supervisor.start()
            log.info("daemon_ready", **facts, workers=config.workers.count)
            if ready is not None:
                ready(facts)
            await stop.wait()
            await supervisor.stop(_limit_s(config))
    log.info("daemon_stopped")


def _open(config: Config, stack: ExitStack) -> Sockets:
    try:
        make_tls(config)  # one plain text instead of one from each worker
        return open_sockets(config.sip.listen, config.workers.count, stack)
    except CertificateError as error:
        raise StartError(f"[tls] {error.setting}: {error}") from error
    except OSError as error:
        raise StartError(f"[sip] listen: {error.strerror or error}") from error


def _limit_s(config: Config) -> float:
    """Return how long a worker may take to end: its drain, the calls that are ended twice, and its last messages."""
    return config.sip.drain_timeout_s + 2 * end_grace_s(config) + CLOSE_LIMIT_S + SLACK_S


@contextmanager
def _signals(stop: asyncio.Event, supervisor: Supervisor) -> Iterator[None]:
    """As of one process (:mod:`cxml.daemon.run`), for all."""
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    handlers = {signal.SIGTERM: received, signal.SIGINT: received, signal.SIGHUP: supervisor.reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
