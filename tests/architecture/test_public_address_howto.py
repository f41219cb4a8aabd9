"""The instructions for a public address: the daemon takes the configuration, the other blocks fit it, and what is to be watched exists."""

import re
from configparser import RawConfigParser
from pathlib import Path

import pytest
import trustme

from cxml.access.peers import Proof
from cxml.access.rules import Strangers
from cxml.daemon.config import load_config
from sipua.transport.route import parse_endpoint
from tests.support.tables import read_table
from tests.support.tree import ROOT

HOWTO = ROOT / "docs/howto/public-address.md"
SECURITY = ROOT / "SECURITY.md"


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", HOWTO.read_text(), re.DOTALL)[number])


def written(folder: Path) -> Path:
    authority = trustme.CA()
    own = authority.issue_cert("cxmld.example.com")
    own.cert_chain_pems[0].write_to_path(folder / "cxmld.example.com.pem")
    own.private_key_pem.write_to_path(folder / "cxmld.example.com-key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    path = folder / "cxmld.toml"
    path.write_text(block("toml").replace("/etc/cxmld/tls", str(folder)))
    return path


def environment() -> dict[str, str]:
    return dict(line.split("=", 1) for line in block("sh").splitlines())


def test_the_configuration_is_taken_and_lets_nobody_in_unasked(tmp_path: Path) -> None:
    config = load_config(written(tmp_path), environment())
    assert config.access.strangers is Strangers.SILENT
    assert (config.refer.is_allowed("sip:204@pbx.example.com"), config.refer.is_allowed("sip:0900@pbx.example.com")) == (True, False)
    pbx, branch = config.peers
    assert (pbx.certificate, branch.auth) == (("pbx.example.com",), Proof.DIGEST)
    assert len(branch.inbound_secret) > 20
    assert not config.refer_for(branch).is_allowed("sip:204@pbx.example.com")
    assert config.webhook.allow_hosts == ("127.0.0.1:8000",)


def test_the_password_of_the_branch_is_not_forgotten_in_silence(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="inbound_password"):
        load_config(written(tmp_path), {})


def test_the_firewall_names_the_ports_and_addresses_of_the_configuration(tmp_path: Path) -> None:
    config = load_config(written(tmp_path), environment())
    rules = block("sh", 1)
    for listener in map(parse_endpoint, config.sip.listen):
        assert f"{'udp' if listener.transport == 'UDP' else 'tcp'} dport {listener.port}" in rules
    assert config.http.address is not None
    assert str(config.http.address[1]) in rules
    assert config.peers[0].match[0] in rules
    low, high = config.media.rtp_ports
    assert f"{low} to {high}" in HOWTO.read_text()


def test_the_drop_in_is_one_for_systemd() -> None:
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini"))
    assert set(parser["Service"]) == {"SupplementaryGroups", "MemoryMax", "TasksMax", "Restart"}


def test_what_is_to_be_watched_exists() -> None:
    metrics = (ROOT / "docs/reference/metrics.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "cxml").rglob("*.py"))
    watched = [row["Metric"].strip("`") for row in read_table(HOWTO, "What to watch")]
    assert len(watched) > 5
    assert [name for name in watched if f"`{name}`" not in metrics] == []
    events = [row["Event"].strip("`") for row in read_table(HOWTO, "Lines of the log")]
    assert len(events) >= 7
    assert [event for event in events if f'"{event}"' not in source] == []


def test_each_setting_that_the_threat_model_names_exists() -> None:
    """Names in the last column stand in the reference; a name without a section belongs to the one before it."""
    reference = (ROOT / "docs/reference/config.md").read_text()
    rows = re.findall(r"(?m)^\|[^|]+\|[^|]+\| (.+) \|$", SECURITY.read_text().partition("# Threat model")[2])
    words = {part.split()[-1] for cell in rows for name in re.findall(r"`([^`]+)`", cell) if (part := name.strip("[]"))}
    known = {word for word in words if f"| `{word}` |" in reference or f"## `[{word}]`" in reference}
    assert words - known == {"CxmldReferConfidence"}
