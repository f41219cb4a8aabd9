"""The metrics of several processes as those of one."""

import json

from prometheus_client import CollectorRegistry, generate_latest

from cxml.daemon.metrics import Metrics
from cxml.daemon.workers.totals import Families, Snapshot, add_up, snapshot, what_remains


def shown(families: Snapshot) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Families(families))
    lines = [line.rpartition(" ") for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def worker(calls: int, banned: int = 0, ends: float = 0.0) -> Snapshot:
    metrics = Metrics()
    for _ in range(calls):
        metrics.call_began()
        metrics.webhook_ended(200, 0.02)
    if calls:
        metrics.call_ended("completed")
    metrics.watch_bans(lambda: banned)
    if ends:
        metrics.set_certificate_end(ends)
    made: Snapshot = json.loads(json.dumps(snapshot(metrics.registry)))  # as they are sent
    return made


def test_counters_and_histograms_and_most_gauges_are_added() -> None:
    total = shown(add_up([worker(3), worker(5), worker(0)]))
    assert total["cxmld_calls_active"] == 6
    assert total['cxmld_calls_total{reason="completed"}'] == 2
    assert total['cxmld_webhook_duration_seconds_bucket{le="0.025"}'] == 8
    assert total["cxmld_webhook_duration_seconds_count"] == 8
    assert total['cxmld_webhook_requests_total{result="2xx"}'] == 8


def test_gauges_about_the_same_thing_in_each_process_are_not_added() -> None:
    total = shown(add_up([worker(0, banned=3, ends=2e9), worker(0, banned=2, ends=1e9)]))
    assert total["cxmld_banned_sources"] == 3
    assert total["cxmld_tls_certificate_end_timestamp_seconds"] == 1e9
    assert [value for name, value in total.items() if name.startswith("cxmld_build_info")] == [1]


def test_one_process_shows_what_it_would_show_alone() -> None:
    metrics = Metrics()
    metrics.call_refused('odd "reason"\\')
    metrics.webhook_ended(404, 1.0)
    registry = CollectorRegistry()
    registry.register(Families(add_up([snapshot(metrics.registry)])))
    ours = [line for line in generate_latest(registry).decode().splitlines() if "process_" not in line]
    assert ours == [line for line in metrics.render().decode().splitlines() if "process_" not in line]


def test_no_total_falls_when_a_process_is_gone() -> None:
    first, second = worker(3), worker(5)
    before = shown(add_up([first, second]))
    after = shown(add_up([second, what_remains(first)]))
    falling = {name for name in before if after.get(name, 0.0) < before[name]}
    assert {name for name in falling if not name.startswith("process_")} == {"cxmld_calls_active"}
