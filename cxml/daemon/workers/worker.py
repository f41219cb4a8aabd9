"""One worker: the daemon as it is, on inherited sockets, under the orders of its parent.

It is run as ``python -m cxml.daemon.workers.worker DESCRIPTOR``.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from cxml.access.gate import Gate
from cxml.calls.context import set_process
from cxml.daemon.build import Daemon, Place
from cxml.daemon.logging import configure_logging
from cxml.daemon.run import drain, readiness, reload, rhythm, running
from cxml.daemon.runtime import new_event_loop, prepare
from cxml.daemon.shared_socket import socket_at
from cxml.daemon.workers.board import Board
from cxml.daemon.workers.link import Link, Message
from cxml.daemon.workers.start import Start, read_start
from cxml.daemon.workers.totals import snapshot
from cxml.errors import CxmlError
from sipua.driver import TaskSet
from sipua.errors import SipError, printable
from sipua.transport.inherited import WorkerNetwork
from sipua.transport.lending import Lending
from sipua.transport.relay import Kind, Relay
from sipua.transport.sharing import Sharing

log = structlog.get_logger("cxml.daemon.workers.worker")  # as a module of its own it would be __main__

FAILED, PROVEN = b"f", b"p"
"""What workers tell each other of a source: a wrong password came from there, a right one did."""


class Worker:
    """Does what the parent says."""

    def __init__(self, daemon: Daemon, lending: Lending, link: Link) -> None:
        self._daemon = daemon
        self._lending = lending
        self._link = link
        self.stop = asyncio.Event()

    async def obey(self) -> None:
        """Answer questions and follow orders until the parent is gone, which is an order to end."""
        while (message := await self._link.receive()) is not None:
            if "ask" in message:
                self._link.send({"answer": message["number"], "value": self._answer(message["ask"])})
            else:
                self._follow(message)
        log.error("parent_gone", calls=len(self._daemon.registry), detail="calls are hung up: a new daemon needs the address")
        self._daemon.registry.hurry()
        self.stop.set()

    def _answer(self, question: str) -> object:
        if question == "metrics":
            return snapshot(self._daemon.metrics.registry)
        state = readiness(self._daemon)
        return {"reasons": state.reasons, "shedding": state.shedding}

    def _follow(self, message: Message) -> None:
        match message.get("do"):
            case "drain":
                self.stop.set()
            case "hurry":
                self._daemon.registry.hurry()
            case "reload":
                reload(self._daemon)
            case "forget":
                self._lending.forget(message["worker"])


class _Handovers(Collector):
    """What passed between the workers, read when somebody asks."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> list[Metric]:
        """Return the family."""
        text = "Messages between workers, by what became of them."
        family = CounterMetricFamily("cxmld_worker_messages", text, labels=["event"])
        for event, count in self._relay.counters.items():
            family.add_metric([event], count)
        return [family]


def join_gates(gate: Gate, relay: Relay) -> None:
    """Let wrong and right passwords count in all workers, whichever of them was shown them."""
    gate.on_failure = lambda host: relay.tell(FAILED + host.encode())
    gate.on_proven = lambda host: relay.tell(PROVEN + host.encode())
    heard: dict[bytes, Callable[[str], None]] = {FAILED: gate.heard_failure, PROVEN: gate.heard_proven}
    relay.handlers[Kind.TOLD] = lambda _worker, _address, text, _error: heard[text[:1]](text[1:].decode())


async def work(start: Start, control: socket.socket) -> None:
    """Serve until the parent says to stop, or is gone. Raises what starting the daemon raises."""
    link = await Link.over(control)
    board = Board(start.board, start.count, [peer.name for peer in start.config.peers])
    relay = Relay(socket_at(start.inbox), [socket_at(each) for each in start.outboxes], start.worker)
    udp, tcp = ({(host, port): socket_at(each) for host, port, each in some} for some in (start.udp, start.tcp))
    sharing = Sharing(start.worker, start.count, board.live)
    network = WorkerNetwork(sharing, relay, udp, tcp)
    place = Place(start.worker, lambda peer: board.share(start.worker, peer))
    async with AsyncExitStack() as stack:
        stack.callback(link.close)
        relay.open()
        stack.callback(relay.close)
        daemon, _ = await stack.enter_async_context(running(start.config, network, place))
        lending = Lending(sharing, relay, daemon.agent.transports.adopt)
        lending.stand_before(daemon.agent.transports)
        await stack.enter_async_context(rhythm(daemon))
        join_gates(daemon.gate, relay)
        daemon.metrics.registry.register(_Handovers(relay))
        worker = Worker(daemon, lending, link)
        tasks = TaskSet()
        tasks.spawn(worker.obey(), name="orders of the parent")
        stack.push_async_callback(tasks.aclose)
        link.send({"said": "ready"})
        log.info("worker_ready")
        await worker.stop.wait()
        await drain(daemon, start.config)
    log.info("worker_stopped")


def main() -> int:
    """Run the worker that the parent has started; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the parent gets them, too, and says what is to be done
        signal.signal(number, signal.SIG_IGN)
    control = socket_at(int(sys.argv[1]))
    try:
        start = read_start(control)
    except EOFError:
        return 0
    configure_logging(start.config.log, start.config.secrets())
    set_process(worker=start.worker)
    try:
        prepare()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(work(start, control))
    except (CxmlError, SipError, OSError) as error:
        log.error("worker_not_started", detail=printable(str(error), 1000))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
