"""What calls report becomes metrics."""

from types import SimpleNamespace

from cxml.calls.service import CUT_OFF
from cxml.daemon.metrics import Metrics
from cxml.daemon.observer import MetricsObserver
from cxml.interpreter.ending import Summary
from cxml.interpreter.ports import TransferKind, TransferResult
from sipua.usage.registration import RegistrationState


def values(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("cxmld_") and "_created" not in line]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_call_with_two_transfers_and_an_error() -> None:
    metrics = Metrics()
    observer = MetricsObserver(metrics)
    observer.call_began("pbx")
    assert values(metrics)["cxmld_calls_active"] == 1
    observer.transfer_ended(TransferResult(TransferKind.BUSY))
    observer.transfer_ended(TransferResult(TransferKind.TRANSFERRED, doubt="at_once"))
    observer.call_ended(SimpleNamespace(), Summary("request_failed", 11200, 1, 2))  # type: ignore[arg-type]
    found = values(metrics)
    assert found["cxmld_calls_active"] == 0
    assert found['cxmld_calls_total{reason="request_failed"}'] == 1
    assert found['cxmld_transfers_total{confidence="high",outcome="busy"}'] == 1
    assert found['cxmld_transfers_total{confidence="low",outcome="transferred"}'] == 1
    assert found['cxmld_document_errors_total{code="11200"}'] == 1


def test_a_call_that_was_cut_off_and_a_refused_one() -> None:
    metrics = Metrics()
    observer = MetricsObserver(metrics)
    observer.call_began("pbx")
    observer.call_ended(SimpleNamespace(), Summary(CUT_OFF))  # type: ignore[arg-type]
    observer.request_refused("max_calls", "INVITE")
    observer.request_refused("challenged", "INVITE")
    observer.request_refused("stranger", "OPTIONS")
    observer.source_banned()
    found = values(metrics)
    assert found[f'cxmld_calls_total{{reason="{CUT_OFF}"}}'] == 1
    assert {name: count for name, count in found.items() if "refused_total" in name or "bans_total" in name} == {
        'cxmld_calls_refused_total{reason="max_calls"}': 1,
        'cxmld_requests_refused_total{reason="max_calls"}': 1,
        'cxmld_requests_refused_total{reason="challenged"}': 1,
        'cxmld_requests_refused_total{reason="stranger"}': 1,
        "cxmld_bans_total": 1,
    }


def test_webhooks_are_counted_by_class() -> None:
    metrics = Metrics()
    observer = MetricsObserver(metrics)
    for status in (200, 204, 302, 404, 503, 11200):
        observer.webhook_exchanged("POST", "http://app", status, 0.01, {})
    found = values(metrics)
    assert {name: found[f'cxmld_webhook_requests_total{{result="{name}"}}'] for name in ("2xx", "3xx", "4xx", "5xx", "11200")} == {
        "2xx": 2,
        "3xx": 1,
        "4xx": 1,
        "5xx": 1,
        "11200": 1,
    }
    assert found["cxmld_webhook_duration_seconds_count"] == 6


def test_a_registration_is_down_until_it_holds_and_whenever_it_does_not() -> None:
    metrics = Metrics()
    observer = MetricsObserver(metrics)
    observer.registration_begins("pbx")
    states = [RegistrationState.REGISTERING, RegistrationState.REGISTERED, RegistrationState.WAITING, RegistrationState.REFUSED]
    seen = [observer.registered["pbx"]]
    for state in states:
        observer.registration_changed("pbx", state)
        seen.append(observer.registered["pbx"])
        assert values(metrics)['cxmld_registered{peer="pbx"}'] == seen[-1]
    assert seen == [False, False, True, False, False]
