"""The instructions for Asterisk with TLS: the shell and cxmld take their blocks, and pjsip.conf asks for what the text says."""

import re
import subprocess
from configparser import RawConfigParser
from pathlib import Path

from cxml.daemon.config import load_config
from sipua.transport.certificates import TlsSettings, read_certificate
from sipua.transport.handshake import REASONS
from tests.support.tables import read_table
from tests.support.tree import ROOT

HOWTO = ROOT / "docs/howto/beside-asterisk-tls.md"


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", HOWTO.read_text(), re.DOTALL)[number])


def test_the_certificates_and_the_configuration_fit_each_other(tmp_path: Path) -> None:
    subprocess.run(["bash", "-e", "-c", block("sh")], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    text = block("toml")
    for name in ("cxmld.example.com.pem", "cxmld.example.com-key.pem", "ca.pem"):
        text = text.replace(f"/etc/cxmld/tls/{name}", str(tmp_path / name))
    path = tmp_path / "cxmld.toml"
    path.write_text(text)
    config = load_config(path, {})
    assert config.sip.listen == ("tls:10.0.0.6:5061",)
    own = read_certificate(config.tls.settings)
    assert own.names == ("cxmld.example.com", "10.0.0.6")
    pbx = read_certificate(TlsSettings(str(tmp_path / "pbx.example.com.pem"), str(tmp_path / "pbx.example.com-key.pem")))
    assert pbx.names == ("pbx.example.com", "10.0.0.5")
    assert config.peers[0].certificate == ("pbx.example.com",)
    verify = ["openssl", "verify", "-CAfile", "ca.pem", "pbx.example.com.pem", "cxmld.example.com.pem"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True, timeout=30)


def test_pjsip_conf_asks_for_certificates_and_names_the_daemon() -> None:
    text = block("ini")
    parser = RawConfigParser(strict=False)
    parser.read_string(text)
    transport = parser["transport-tls"]
    assert [transport[key] for key in ("protocol", "verify_server", "verify_client", "require_client_cert")] == ["tls", "yes", "yes", "yes"]
    assert r"contact = sip:cxmld.example.com:5061\;transport=tls" in text
    assert "transport = transport-tls" in text


def test_every_reason_of_a_failed_handshake_is_explained() -> None:
    explained = {word.strip("` ") for row in read_table(HOWTO, "When a handshake fails") for word in row["Reason"].split(",")}
    assert explained == set(REASONS)
