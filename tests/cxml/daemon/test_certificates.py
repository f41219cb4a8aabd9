"""Certificates while the daemon runs: reload, and the warning before the end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cxml.daemon.certificates import CHECK_INTERVAL_S, CertificateKeeper
from cxml.daemon.metrics import Metrics
from sipua.transport.certificates import TlsSettings
from sipua.transport.tls import Tls
from tests.support.certificates import DAY, Authority

END = "cxmld_tls_certificate_end_timestamp_seconds"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_end_of_a_certificate_is_a_metric_and_near_the_end_a_warning(authority: Authority) -> None:
    clock, metrics = Clock(), Metrics()
    ends = clock.now.replace(microsecond=0) + 30 * DAY
    keeper = CertificateKeeper(authority.tls(pair=authority.issue("a.example", ends=ends)), 21, metrics, clock)
    with capture_logs() as logs:
        keeper.look()
    assert logs == []
    assert metrics.registry.get_sample_value(END) == ends.timestamp()
    clock.now += 9 * DAY + timedelta(hours=1)
    with capture_logs() as logs:
        keeper.look()
    assert [(line["event"], line["log_level"], line["days_left"]) for line in logs] == [("certificate_ends_soon", "warning", 20)]
    clock.now += 21 * DAY
    with capture_logs() as logs:
        keeper.look()
    assert [(line["event"], line["log_level"]) for line in logs] == [("certificate_invalid", "error")]
    assert "has expired on" in logs[0]["detail"]


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(authority: Authority) -> None:
    certificate, key = (Path(path) for path in authority.issue("a.example"))
    tls = Tls(TlsSettings(str(certificate), str(key)))
    keeper = CertificateKeeper(tls, 0, Metrics())
    before = tls.contexts
    content = certificate.read_text()
    certificate.write_text("broken")
    with capture_logs() as logs:
        keeper.reload()
    assert tls.contexts is before
    assert [(line["event"], line["setting"]) for line in logs] == [("certificates_not_reloaded", "[tls] certificate")]
    assert str(certificate) in logs[0]["detail"]
    certificate.write_text(content)
    with capture_logs() as logs:
        keeper.reload()
    assert tls.contexts is not before
    assert [(line["event"], line["names"]) for line in logs] == [("certificates_reloaded", ["a.example"])]


def test_without_a_certificate_there_is_nothing_to_watch(authority: Authority) -> None:
    metrics = Metrics()
    keeper = CertificateKeeper(authority.tls(), 21, metrics)
    keeper.look()
    keeper.reload()
    assert metrics.registry.get_sample_value(END) is None
    assert DAY.total_seconds() > CHECK_INTERVAL_S
