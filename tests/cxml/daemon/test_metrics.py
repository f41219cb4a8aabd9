"""What is counted, and that the reference lists it."""

from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from cxml.daemon.metrics import Held, Metrics, daemon_version
from tests.support.tables import read_table

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_calls_are_counted_from_their_beginning_to_their_end() -> None:
    metrics = Metrics()
    metrics.call_began()
    metrics.call_began()
    metrics.call_ended("completed")
    metrics.call_refused("stranger")
    assert value(metrics, "cxmld_calls_active") == 1
    assert value(metrics, "cxmld_calls_total", reason="completed") == 1
    assert value(metrics, "cxmld_calls_refused_total", reason="stranger") == 1


def test_webhooks_are_counted_by_class_of_status_or_error_code() -> None:
    metrics = Metrics()
    for status in (200, 204, 302, 404, 503, 11200, 0):
        metrics.webhook_ended(status, 0.02)
    counts = {
        result: value(metrics, "cxmld_webhook_requests_total", result=result) for result in ("2xx", "3xx", "4xx", "5xx", "11200", "0")
    }
    assert counts == {"2xx": 2, "3xx": 1, "4xx": 1, "5xx": 1, "11200": 1, "0": 1}
    assert value(metrics, "cxmld_webhook_duration_seconds_count") == 7
    assert value(metrics, "cxmld_webhook_duration_seconds_bucket", le="0.025") == 7
    assert value(metrics, "cxmld_webhook_duration_seconds_bucket", le="0.01") == 0


def test_transfers_documents_and_registrations_are_counted() -> None:
    metrics = Metrics()
    metrics.transfer_ended("busy", "high")
    metrics.document_failed(12100)
    metrics.set_registered("pbx", is_registered=True)
    metrics.set_registered("fs", is_registered=True)
    metrics.set_registered("fs", is_registered=False)
    assert value(metrics, "cxmld_transfers_total", outcome="busy", confidence="high") == 1
    assert value(metrics, "cxmld_document_errors_total", code="12100") == 1
    assert (value(metrics, "cxmld_registered", peer="pbx"), value(metrics, "cxmld_registered", peer="fs")) == (1, 0)


def test_sip_is_read_when_somebody_asks() -> None:
    metrics = Metrics()
    assert value(metrics, "cxmld_sip_messages_total", event="received") == 0
    counters = Counter(received=3, malformed=1, accepted=2, user_errors=1)
    metrics.watch_transport(lambda: counters)
    metrics.watch_transactions(lambda: {"client_timeouts": 4})
    metrics.watch_calls(lambda: {"sessions_expired": 2, "other": 9})
    assert value(metrics, "cxmld_session_timer_total", event="sessions_expired") == 2
    assert value(metrics, "cxmld_session_timer_total", event="other") is None
    counters["received"] += 1
    assert value(metrics, "cxmld_sip_messages_total", event="received") == 4
    assert value(metrics, "cxmld_sip_messages_total", event="malformed") == 1
    assert value(metrics, "cxmld_sip_messages_total", event="sent") == 0
    assert value(metrics, "cxmld_sip_connections_total", event="accepted") == 2
    assert value(metrics, "cxmld_sip_transactions_total", event="client_timeouts") == 4


def test_what_is_held_is_read_when_somebody_asks() -> None:
    metrics = Metrics()
    assert value(metrics, "cxmld_sip_dialogs_open") == 0
    metrics.watch_held(lambda: Held(5, 4, 3, 2, 1, 9))
    assert value(metrics, "cxmld_sip_transactions_open", side="server") == 5
    assert value(metrics, "cxmld_sip_transactions_open", side="client") == 4
    assert value(metrics, "cxmld_sip_dialogs_open") == 3
    assert value(metrics, "cxmld_sip_connections_open") == 2
    assert value(metrics, "cxmld_rtp_ports_used") == 1
    assert value(metrics, "cxmld_tasks") == 9


def test_two_daemons_in_one_process_do_not_count_together() -> None:
    one, other = Metrics(), Metrics()
    one.call_began()
    assert value(other, "cxmld_calls_active") == 0


def test_the_build_is_told() -> None:
    (sample,) = [sample for family in Metrics().registry.collect() if family.name == "cxmld_build" for sample in family.samples]
    assert (sample.labels["version"], sample.value) == (daemon_version(), 1)


def test_labels_from_anywhere_can_not_break_the_text() -> None:
    metrics = Metrics()
    metrics.call_ended('a"b\\c\nd')
    text = metrics.render().decode()
    (sample,) = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == "cxmld_calls_total"
    ]
    assert sample.labels == {"reason": 'a"b\\c\nd'}


def test_the_reference_lists_every_family_with_its_type_and_labels() -> None:
    metrics = Metrics()
    metrics.call_ended("x")
    metrics.call_refused("x")
    metrics.request_refused("x")
    metrics.transfer_ended("x", "low")
    metrics.webhook_ended(200, 1)
    metrics.document_failed(1)
    metrics.set_registered("x", is_registered=True)
    metrics.watch_transactions(lambda: {"x": 1})
    metrics.watch_shed(lambda: {("x", ""): 1})
    metrics.watch_handshakes(lambda: {"x": 1})
    metrics.set_certificate_end(1.0)
    suffix = {"counter": "_total", "info": "_info"}
    found = {}
    for family in metrics.registry.collect():
        if family.name.startswith("cxmld_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            kind = "gauge" if family.type == "info" else family.type
            found[family.name + suffix.get(family.type, "")] = (kind, labels)
    listed = {}
    for row in read_table(REFERENCE, "Families"):
        labels = set() if row["Label"] == "–" else {label.strip() for label in row["Label"].split(",")}
        listed[row["Metric"]] = (row["Type"], labels)
    assert listed == found
