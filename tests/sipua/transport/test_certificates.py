"""Certificate files: each fault is named with its file and its remedy."""

import ssl
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sipua.transport.certificates import CertificateError, TlsSettings, VerifyClients, load, problems, read_certificate
from tests.support.certificates import DAY, Authority, self_signed


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def found(settings: TlsSettings) -> list[tuple[str, str]]:
    return [(error.setting, str(error)) for error in problems(settings)]


def test_good_files_have_no_problem_and_tell_their_dates(authority: Authority) -> None:
    settings = authority.settings("pbx.example", "127.0.0.1", verify=VerifyClients.REQUIRED)
    assert problems(settings) == []
    contexts = load(settings)
    assert contexts.own is not None
    assert contexts.server is not None
    assert contexts.own.names == ("pbx.example", "127.0.0.1")
    assert contexts.own.serves
    assert contexts.own.problem(datetime.now(UTC)) == ""
    assert contexts.server.minimum_version is ssl.TLSVersion.TLSv1_2
    assert contexts.server.verify_mode is ssl.CERT_REQUIRED


def test_without_files_there_is_a_client_that_trusts_the_system(authority: Authority) -> None:
    contexts = load(TlsSettings())
    assert (contexts.server, contexts.own) == (None, None)
    assert contexts.client.verify_mode is ssl.CERT_REQUIRED
    assert load(TlsSettings(verify_servers=False)).client.verify_mode is ssl.CERT_NONE
    assert load(TlsSettings(minimum_version="1.3")).client.minimum_version is ssl.TLSVersion.TLSv1_3


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    settings = TlsSettings(str(tmp_path / "a"), str(tmp_path), str(tmp_path / "c"))
    assert found(settings) == [
        ("certificate", f"{tmp_path}/a: No such file or directory; write the path of a PEM file"),
        ("private_key", f"{tmp_path}: Is a directory; write the path of a PEM file that can be read"),
        ("ca_file", f"{tmp_path}/c: No such file or directory; write the path of a PEM file"),
    ]
    with pytest.raises(CertificateError, match="/a: No such file"):
        load(settings)


def test_half_a_pair_is_no_pair(authority: Authority) -> None:
    certificate, key = authority.issue("a.example")
    assert found(TlsSettings(certificate)) == [("private_key", "is missing; a certificate is of no use without its key")]
    assert found(TlsSettings(private_key=key)) == [("certificate", "is missing; a private key is of no use without its certificate")]
    assert found(TlsSettings(verify_clients=VerifyClients.OPTIONAL))[0][0] == "ca_file"


def test_a_key_of_another_certificate_is_told(authority: Authority) -> None:
    certificate, _ = authority.issue("a.example")
    _, key = authority.issue("b.example")
    assert found(TlsSettings(certificate, key)) == [
        ("private_key", f"{key} is not the key of {certificate}; write the paths of one pair"),
    ]


def test_files_that_are_mixed_up_are_told(authority: Authority) -> None:
    certificate, key = authority.issue("a.example")
    assert found(TlsSettings(key, certificate, key)) == [
        ("certificate", f"{key} holds a private key and no certificate; write the path of another file"),
        ("private_key", f"{certificate} holds a certificate and no private key; write the path of another file"),
        ("ca_file", f"{key} holds a private key and no certificate; write the path of another file"),
    ]


@pytest.mark.parametrize("content", ["", "hello", "\udcff\x00"])
def test_files_that_are_no_pem_are_told(authority: Authority, tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    texts = [text for _, text in found(TlsSettings(str(path), str(path), str(path)))]
    assert [text.split("; ")[0] for text in texts] == [
        f"{path} holds no certificate in PEM form",
        f"{path} holds no private key in PEM form",
        f"{path} holds no certificate in PEM form",
    ]


def test_damaged_files_are_told(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("a.example")
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(Path(certificate).read_text()[:300])
    texts = [text for _, text in found(TlsSettings(str(damaged), key, str(damaged)))]
    assert len(texts) == 2
    assert all(str(damaged) in text and "undamaged" in text for text in texts)


def test_an_encrypted_key_asks_nobody_for_its_password(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("a.example")
    sealed = tmp_path / "sealed.pem"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:abc", "-out", sealed], check=True, timeout=30)
    assert found(TlsSettings(certificate, str(sealed)))[0][1].startswith(f"{sealed} is encrypted, and nobody is there")


def test_dates_of_a_certificate(authority: Authority) -> None:
    now = datetime.now(UTC)
    expired = read_certificate(authority.settings(pair=authority.expired("a.example")))
    assert expired.problem(now).startswith(f"has expired on {now - DAY:%Y-%m-%d}")
    early = read_certificate(authority.settings(pair=authority.issue("a.example", begins=now + DAY, ends=now + 9 * DAY)))
    assert early.problem(now).startswith(f"is not valid before {now + DAY:%Y-%m-%d}")
    assert early.problem(now + 2 * DAY) == ""


def test_a_certificate_that_may_be_no_server_says_so(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, "/CN=a.example")
    certificate, key = tmp_path / "client.pem", tmp_path / "client-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=a.example", "-addext", "extendedKeyUsage=clientAuth", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    assert read_certificate(TlsSettings(*pair)).serves
    assert not read_certificate(TlsSettings(str(certificate), str(key))).serves


def test_a_peers_own_certificate_may_stand_among_the_authorities(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue("a.example")
    assert problems(replace(authority.settings("b.example"), ca_file=certificate)) == []
