"""The section [tls], and what is checked about its files."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxml import cli
from cxml.daemon.certificates import wants_tls
from cxml.daemon.config import load_config
from cxml.errors import ConfigError
from sipua.transport.certificates import VerifyClients
from tests.support.certificates import Authority

VOICE = "[voice]\nurl = 'http://127.0.0.1/voice'\n"
LISTEN = "[sip]\nlisten = ['tls:127.0.0.1:5061']\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def write(folder: Path, text: str) -> Path:
    path = folder / "cxmld.toml"
    path.write_text(VOICE + text)
    return path


def problems(path: Path) -> list[str]:
    try:
        load_config(path, {})
    except ConfigError as error:
        return [line.removeprefix(f"{path}:") for line in str(error).splitlines()]
    return []


def section(certificate: str, key: str, *more: str) -> str:
    return "\n".join(["[tls]", f"certificate = {certificate!r}", f"private_key = {key!r}", *more, ""])


def test_a_listener_with_a_pair_of_files_is_all_that_tls_needs(authority: Authority, tmp_path: Path) -> None:
    path = write(tmp_path, LISTEN + section(*authority.issue("pbx.example")))
    assert problems(path) == []
    config = load_config(path, {})
    assert wants_tls(config)
    assert config.tls.settings.verify_clients is VerifyClients.NONE
    assert config.tls.settings.minimum_version == "1.2"


def test_a_listener_without_a_certificate_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, LISTEN))
    assert problem.endswith("[tls] certificate: is missing; a tls: listener needs certificate and private_key")


def test_each_broken_file_is_told_with_its_line(authority: Authority, tmp_path: Path) -> None:
    _, key = authority.issue("a.example")
    text = LISTEN + section("/nowhere/cert.pem", key, f"ca_file = {key!r}")
    assert problems(write(tmp_path, text)) == [
        "6: [tls] certificate: /nowhere/cert.pem: No such file or directory; write the path of a PEM file",
        f"8: [tls] ca_file: {key} holds a private key and no certificate; write the path of another file",
    ]


def test_a_key_of_another_certificate_is_told(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue("a.example")
    _, key = authority.issue("b.example")
    assert problems(write(tmp_path, LISTEN + section(certificate, key))) == [
        f"7: [tls] private_key: {key} is not the key of {certificate}; write the paths of one pair"
    ]


def test_an_old_certificate_is_a_warning_and_keeps_no_daemon_from_starting(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.expired("a.example")
    path = write(tmp_path, LISTEN + section(certificate, key))
    assert problems(path) == []
    result = CliRunner().invoke(cli.app, ["config", "check", "--config", str(path)])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "ok")
    assert result.stderr.startswith(f"warning: [tls] certificate: {certificate} has expired on ")


def test_clients_are_verified_by_authorities_that_are_named(authority: Authority, tmp_path: Path) -> None:
    text = LISTEN + section(*authority.issue("a.example"), "verify_clients = 'required'")
    (problem,) = problems(write(tmp_path, text))
    assert "ca_file: is missing; verify_clients needs" in problem
    assert problems(write(tmp_path, text + f"ca_file = '{authority.file}'\n")) == []


def test_a_peer_known_by_its_certificate_needs_no_address_but_the_question_for_one(authority: Authority, tmp_path: Path) -> None:
    peer = "[[peers]]\nname = 'pbx'\ncertificate = ['PBX.example.']\n"
    tls = section(*authority.issue("a.example"))
    (problem,) = problems(write(tmp_path, LISTEN + tls + peer))
    assert "certificate: needs [tls] verify_clients" in problem
    text = LISTEN + tls + f"verify_clients = 'optional'\nca_file = '{authority.file}'\n" + peer
    assert problems(write(tmp_path, text)) == []
    assert load_config(write(tmp_path, text), {}).peers[0].certificate == ("pbx.example",)
    (problem,) = problems(write(tmp_path, text + "[[peers]]\nname = 'b'\ncertificate = ['pbx.EXAMPLE']\n"))
    assert "pbx.example is a name of the peer 'pbx', too" in problem


def test_tls_and_tcp_can_not_share_a_port(authority: Authority, tmp_path: Path) -> None:
    text = "[sip]\nlisten = ['tcp:127.0.0.1:5061', 'tls:0.0.0.0:5061', 'udp:127.0.0.1:5061']\n" + section(*authority.issue("a.example"))
    (problem,) = problems(write(tmp_path, text))
    assert "tls:0.0.0.0:5061 and tcp:127.0.0.1:5061 overlap" in problem


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", False),
        ("[[peers]]\nname = 'p'\nmatch = ['10.0.0.1']\nuri = 'sip:pbx'\n", False),
        ("[[peers]]\nname = 'p'\nmatch = ['10.0.0.1']\nuri = 'sips:pbx'\n", True),
        ("[[peers]]\nname = 'p'\nmatch = ['10.0.0.1']\nuri = 'sip:pbx;transport=tls'\n", True),
        ("[tls]\nverify_servers = false\n", True),
    ],
)
def test_tls_is_set_up_when_something_asks_for_it(tmp_path: Path, text: str, wanted: bool) -> None:
    assert wants_tls(load_config(write(tmp_path, text), {})) is wanted


def test_a_certificate_for_clients_only_is_told(tmp_path: Path) -> None:
    import subprocess

    certificate, key = str(tmp_path / "client.pem"), str(tmp_path / "client-key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=a.example", "-addext", "extendedKeyUsage=clientAuth", "-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    (problem,) = problems(write(tmp_path, LISTEN + section(certificate, key)))
    assert problem.endswith("may not be used by a TLS server; see its extended key usage")
