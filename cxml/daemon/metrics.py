"""What the daemon counts, for Prometheus (docs/reference/metrics.md).

Every :class:`Metrics` has a registry of its own, so that two daemons in one process, as in tests, do not count together. Labels take
their values from closed sets or the configuration, never from the network: the number of series is bounded.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cxml.daemon.tallies import Distribution, Tally, Total
from sipua.transport.tcp import CUTS

LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""From an application on the same machine to the default total time-out."""

PAUSE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From nothing to look at to a pause that costs callers retransmissions."""

MESSAGE_EVENTS: Final = ("received", "sent", "malformed", "rejected", "dropped", "keepalives", "send_errors")
TIMER_EVENTS: Final = ("refreshes_sent", "refreshes_received", "refreshes_failed", "sessions_expired", "intervals_refused")
CONNECTION_EVENTS: Final = ("opened", "accepted", "refused", "handshakes_failed", *CUTS)
DNS_EVENTS: Final = ("queries", "failures", "hits", "stale")
FAILOVER_REASONS: Final = ("timeout", "transport", "503")

Counts = Callable[[], Mapping[str, int]]
"""Asked at each scrape for totals since the start, by name."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the daemon holds at a moment. All of it follows the load down again; what doesn't is a leak."""

    server_transactions: int = 0
    client_transactions: int = 0
    dialogs: int = 0
    connections: int = 0
    rtp_ports: int = 0
    tasks: int = 0


def daemon_version() -> str:
    """Return the version of the installed distribution, ``unknown`` when it runs from a source tree without one."""
    try:
        return version("cxmld")
    except PackageNotFoundError:
        return "unknown"


class Metrics:
    """Counters, gauges and histograms of one daemon, each behind a small method."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._build = Info("cxmld_build", "Version of the daemon and of Python.", registry=self.registry)
        self._build.info({"version": daemon_version(), "python": python_version()})
        self._calls_active = 0
        active = Gauge("cxmld_calls_active", "Calls that are up or ringing.", registry=self.registry)
        active.set_function(lambda: self._calls_active)
        self._calls = self._counter("cxmld_calls", "Calls that ended, by the reason.", "reason")
        self._refused = self._counter("cxmld_calls_refused", "Calls refused before they had a document, by the reason.", "reason")
        self._requests = self._counter("cxmld_requests_refused", "Requests outside a call that didn't come in, by the reason.", "reason")
        self._bans = self._counter("cxmld_bans", "Sources banned for wrong passwords.")
        self._banned = Gauge("cxmld_banned_sources", "Sources that are banned now.", registry=self.registry)
        self._transfers = self._counter("cxmld_transfers", "Transfers, by outcome and confidence.", "outcome", "confidence")
        self._webhooks = self._counter("cxmld_webhook_requests", "Requests to the web application, by what came back.", "result")
        text = "How long requests to the web application took."
        self._latency = Distribution("cxmld_webhook_duration_seconds", text, LATENCY_BUCKETS_S)
        self.registry.register(self._latency)
        self._documents = self._counter("cxmld_document_errors", "Documents and requests for them that failed, by error code.", "code")
        self._registered = Gauge("cxmld_registered", "1 while we are registered at the peer, else 0.", ["peer"], registry=self.registry)
        self._certificate_end: Gauge | None = None
        self._sip = _SipCollector()
        self.registry.register(self._sip)
        self._shed = _ShedCollector()
        self.registry.register(self._shed)
        self._log_dropped = Total("cxmld_log_dropped", "Lines of the log that were lost because nobody took them.")
        self.registry.register(self._log_dropped)
        text = "How long passes of the garbage collector stopped everything."
        self._pauses = Distribution("cxmld_gc_pause_seconds", text, PAUSE_BUCKETS_S)
        self.registry.register(self._pauses)
        self._collected = self._counter("cxmld_gc_collected_objects", "Objects that passes of the garbage collector found.")
        self._held = _HeldCollector()
        self.registry.register(self._held)

    def _counter(self, name: str, text: str, *labels: str) -> Tally:
        tally = Tally(name, text, *labels)
        self.registry.register(tally)
        return tally

    def call_began(self) -> None:
        """A call was taken."""
        self._calls_active += 1

    def call_ended(self, reason: str) -> None:
        """A call that was taken is over; *reason* is one word."""
        self._calls_active -= 1
        self._calls.inc(reason)

    def call_refused(self, reason: str) -> None:
        """A call was refused; *reason* is one word."""
        self._refused.inc(reason)

    def request_refused(self, reason: str) -> None:
        """A request outside a dialog didn't come in; *reason* is one word."""
        self._requests.inc(reason)

    def source_banned(self) -> None:
        """A source was banned."""
        self._bans.inc()

    def watch_bans(self, count: Callable[[], int]) -> None:
        """Read how many sources are banned from *count*."""
        self._banned.set_function(count)

    def transfer_ended(self, outcome: str, confidence: str) -> None:
        """A transfer has its outcome (values of :class:`cxml.interpreter.ports.TransferKind` and ``Confidence``)."""
        self._transfers.inc(outcome, confidence)

    def webhook_ended(self, status: int, seconds: float) -> None:
        """A request to the web application is over: HTTP *status* or error code, and how long it took."""
        self._webhooks.inc(f"{status // 100}xx" if 100 <= status < 600 else str(status))
        self._latency.observe(seconds)

    def document_failed(self, code: int) -> None:
        """A document, or the request for it, failed with the vendors' error *code*."""
        self._documents.inc(str(code))

    def set_registered(self, peer: str, *, is_registered: bool) -> None:
        """The registration at *peer* holds, or doesn't."""
        self._registered.labels(peer).set(int(is_registered))

    def set_certificate_end(self, timestamp: float) -> None:
        """Our certificate holds until *timestamp*, seconds since 1970."""
        if self._certificate_end is None:  # a daemon without TLS has no such series
            text = "When our TLS certificate ends, in seconds since 1970."
            self._certificate_end = Gauge("cxmld_tls_certificate_end_timestamp_seconds", text, registry=self.registry)
        self._certificate_end.set(timestamp)

    def watch_handshakes(self, counts: Counts) -> None:
        """Read failed TLS handshakes by their reason from *counts*."""
        self._sip.handshakes = counts

    def watch_transport(self, counts: Counts) -> None:
        """Read SIP messages and connections from *counts*: the counters of the transport layer."""
        self._sip.transport = counts

    def watch_transactions(self, counts: Counts) -> None:
        """Read SIP transactions from *counts*: the statistics of the transaction layer as a mapping."""
        self._sip.transactions = counts

    def watch_calls(self, counts: Counts) -> None:
        """Read session timers from *counts*: the statistics of calls as a mapping."""
        self._sip.calls = counts

    def watch_dns(self, counts: Counts) -> None:
        """Read look-ups from *counts*: the counters of the resolver."""
        self._sip.dns = counts

    def watch_failovers(self, counts: Counts) -> None:
        """Read requests that went on to another server from *counts*, by the reason."""
        self._sip.failovers = counts

    def watch_shed(self, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Read what was shed from *counts*: totals by reason and peer."""
        self._shed.counts = counts

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Read how many lines of the log were lost from *dropped*."""
        self._log_dropped.count = dropped

    def collected(self, pause_s: float, objects: int) -> None:
        """A pass of the garbage collector took *pause_s* and found *objects*."""
        self._pauses.observe(pause_s)
        self._collected.inc(by=objects)

    def watch_held(self, held: Callable[[], Held]) -> None:
        """Read what the daemon holds now from *held*."""
        self._held.held = held

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)


def _nothing() -> Mapping[str, int]:
    return {}


class _SipCollector(Collector):
    """SIP's own counters, read when somebody asks."""

    def __init__(self) -> None:
        self.transport: Counts = _nothing
        self.transactions: Counts = _nothing
        self.handshakes: Counts = _nothing
        self.calls: Counts = _nothing
        self.dns: Counts = _nothing
        self.failovers: Counts = _nothing

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        counts = self.transport()
        yield _family("cxmld_sip_messages", "SIP messages, by what became of them.", {e: counts.get(e, 0) for e in MESSAGE_EVENTS})
        yield _family("cxmld_sip_connections", "SIP connections, by how they came about.", {e: counts.get(e, 0) for e in CONNECTION_EVENTS})
        failed = self.handshakes()
        yield _family("cxmld_tls_handshakes_failed", "TLS handshakes that failed, by the reason.", failed, label="reason")
        yield _family("cxmld_sip_transactions", "SIP transactions and what happened in them.", self.transactions())
        calls = self.calls()
        yield _family("cxmld_session_timer", "Session timers, by what happened.", {e: calls.get(e, 0) for e in TIMER_EVENTS})
        found = self.dns()
        yield _family("cxmld_dns", "Look-ups of names, by what became of them.", {e: found.get(e, 0) for e in DNS_EVENTS})
        moved = self.failovers()
        text = "Requests that went on to another server, by why the former one was left."
        yield _family("cxmld_sip_failovers", text, {r: moved.get(r, 0) for r in FAILOVER_REASONS}, "reason")


class _ShedCollector(Collector):
    """What overload kept out, read when somebody asks."""

    def __init__(self) -> None:
        self.counts: Callable[[], Mapping[tuple[str, str], int]] = dict

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        family = CounterMetricFamily("cxmld_shed", "Calls and datagrams that overload kept out.", labels=["reason", "peer"])
        for labels, count in self.counts().items():
            family.add_metric(labels, count)
        yield family


class _HeldCollector(Collector):
    """What the daemon holds, read when somebody asks."""

    def __init__(self) -> None:
        self.held: Callable[[], Held] = Held

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        held = self.held()
        name, text = "cxmld_sip_transactions_open", "SIP transactions that are remembered now, by who sent the request."
        transactions = GaugeMetricFamily(name, text, labels=["side"])
        transactions.add_metric(["server"], held.server_transactions)
        transactions.add_metric(["client"], held.client_transactions)
        yield transactions
        yield GaugeMetricFamily("cxmld_sip_dialogs_open", "SIP dialogs that are open now.", held.dialogs)
        yield GaugeMetricFamily("cxmld_sip_connections_open", "SIP connections that are open now.", held.connections)
        yield GaugeMetricFamily("cxmld_rtp_ports_used", "RTP ports in use now, one for each call with a socket.", held.rtp_ports)
        yield GaugeMetricFamily("cxmld_tasks", "Tasks of the daemon's loop now.", held.tasks)


def _family(name: str, text: str, counts: Mapping[str, int], label: str = "event") -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for event, count in counts.items():
        family.add_metric([event], count)
    return family
