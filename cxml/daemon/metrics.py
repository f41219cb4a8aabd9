"""What the daemon counts, for Prometheus (docs/reference/metrics.md).

Every :class:`Metrics` has a registry of its own, so that two daemons in one process, as in tests, do not count together. Labels take
their values from closed sets or the configuration, never from the network: the number of series is bounded.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""From an application on the same machine to the default total time-out."""

MESSAGE_EVENTS: Final = ("received", "sent", "malformed", "rejected", "dropped", "keepalives", "send_errors")
CONNECTION_EVENTS: Final = ("opened", "accepted", "refused")

Counts = Callable[[], Mapping[str, int]]
"""Asked at each scrape for totals since the start, by name."""


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
        self._active = Gauge("cxmld_calls_active", "Calls that are up or ringing.", registry=self.registry)
        self._calls = self._counter("cxmld_calls", "Calls that ended, by the reason.", "reason")
        self._refused = self._counter("cxmld_calls_refused", "Calls refused before they had a document, by the reason.", "reason")
        self._transfers = self._counter("cxmld_transfers", "Transfers, by their outcome.", "outcome")
        self._webhooks = self._counter("cxmld_webhook_requests", "Requests to the web application, by what came back.", "result")
        self._latency = Histogram(
            "cxmld_webhook_duration_seconds",
            "How long requests to the web application took.",
            registry=self.registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self._documents = self._counter("cxmld_document_errors", "Documents and requests for them that failed, by error code.", "code")
        self._registered = Gauge("cxmld_registered", "1 while we are registered at the peer, else 0.", ["peer"], registry=self.registry)
        self._sip = _SipCollector()
        self.registry.register(self._sip)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(name, text, [label], registry=self.registry)

    def call_began(self) -> None:
        """A call was taken."""
        self._active.inc()

    def call_ended(self, reason: str) -> None:
        """A call that was taken is over; *reason* is one word."""
        self._active.dec()
        self._calls.labels(reason).inc()

    def call_refused(self, reason: str) -> None:
        """A call was refused; *reason* is one word."""
        self._refused.labels(reason).inc()

    def transfer_ended(self, outcome: str) -> None:
        """A transfer has its outcome (a value of :class:`cxml.interpreter.ports.TransferKind`)."""
        self._transfers.labels(outcome).inc()

    def webhook_ended(self, status: int, seconds: float) -> None:
        """A request to the web application is over: HTTP *status* or error code, and how long it took."""
        self._webhooks.labels(f"{status // 100}xx" if 100 <= status < 600 else str(status)).inc()
        self._latency.observe(seconds)

    def document_failed(self, code: int) -> None:
        """A document, or the request for it, failed with the vendors' error *code*."""
        self._documents.labels(str(code)).inc()

    def set_registered(self, peer: str, *, is_registered: bool) -> None:
        """The registration at *peer* holds, or doesn't."""
        self._registered.labels(peer).set(int(is_registered))

    def watch_transport(self, counts: Counts) -> None:
        """Read SIP messages and connections from *counts*: the counters of the transport layer."""
        self._sip.transport = counts

    def watch_transactions(self, counts: Counts) -> None:
        """Read SIP transactions from *counts*: the statistics of the transaction layer as a mapping."""
        self._sip.transactions = counts

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

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        counts = self.transport()
        yield _family("cxmld_sip_messages", "SIP messages, by what became of them.", {e: counts.get(e, 0) for e in MESSAGE_EVENTS})
        yield _family("cxmld_sip_connections", "SIP connections, by how they came about.", {e: counts.get(e, 0) for e in CONNECTION_EVENTS})
        yield _family("cxmld_sip_transactions", "SIP transactions and what happened in them.", self.transactions())


def _family(name: str, text: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["event"])
    for event, count in counts.items():
        family.add_metric([event], count)
    return family
