"""The units under test: what they need, and how callers without TLS reach those with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import scenario
from bench.__main__ import UNITS
from bench.caller import Target, command, written
from bench.tls_relay import CA, CERTIFICATE, KEY, Side, context_of, write_certificates
from bench.units import packages
from bench.units.ours import OursTls


def test_by_the_relay_sipp_says_tls_and_the_port_of_the_relay(tmp_path: Path) -> None:
    target = Target("127.0.0.1", 13002, "tls", contact_port=13003)
    written(tmp_path, scenario.transfer(), target)
    text = (tmp_path / "scenario.xml").read_text()
    assert "Via: SIP/2.0/TLS [local_ip]:13003;branch" in text
    assert "Contact: <sip:caller@[local_ip]:13003;transport=TLS>" in text
    assert "[transport]" not in text
    assert command(target, 1, 0)[-4:] == ["t1", "-s", "bench", "127.0.0.1:13002"]


def test_without_relay_the_scenario_stays_as_it_is(tmp_path: Path) -> None:
    written(tmp_path, scenario.held(), Target("127.0.0.1", 13000, "tcp"))
    assert (tmp_path / "scenario.xml").read_text() == scenario.held()


def test_the_certificates_fit_the_daemon_and_the_relay(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    assert context_of(tmp_path).get_ca_certs()
    text = OursTls(tmp_path, 0, 13000, 13500).config()
    assert 'listen = ["tls:127.0.0.1:13000"]' in text
    assert [name for name in (CA, CERTIFICATE, KEY) if str(tmp_path / name) not in text] == []


class Wire:
    """The part of a transport that the relay uses."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def test_the_relay_hands_bytes_on_to_the_caller_that_is_there() -> None:
    pair: list[Side | None] = [None, None]
    wires = [Wire() for _ in range(3)]
    unit, first, second = Side(pair, 1), Side(pair, 0), Side(pair, 0)
    unit.connection_made(wires[0])  # type: ignore[arg-type]  # only write is used
    unit.data_received(b"nobody is there")
    first.connection_made(wires[1])  # type: ignore[arg-type]  # the same
    first.data_received(b"INVITE")
    second.connection_made(wires[2])  # type: ignore[arg-type]  # the same
    first.connection_lost(None)
    unit.data_received(b"200")
    assert [wire.data for wire in wires] == [b"INVITE", b"", b"200"]
    second.connection_lost(None)
    unit.data_received(b"nobody again")
    assert wires[2].data == b"200"


def test_an_environment_is_made_once_for_each_set_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], **options: object) -> None:
        ran.append(words)
        tmp_path.mkdir(exist_ok=True)

    monkeypatch.setattr(subprocess, "run", run)
    assert packages.install(tmp_path, ["one==1"]) == ""
    assert ran[0][:3] == [sys.executable, "-m", "venv"]
    assert ran[1][-1] == "one==1"
    assert packages.install(tmp_path, ["one==1"]) == ""
    assert len(ran) == 2
    assert packages.install(tmp_path, ["one==2"]) == ""
    assert len(ran) == 4


def test_a_package_that_cannot_be_had_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], **options: object) -> None:
        if "pip" in words:
            raise subprocess.CalledProcessError(1, words, stderr="WARNING: x\nERROR: No matching distribution found for one==1\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert packages.install(tmp_path, ["one==1"]) == "can't be installed: ERROR: No matching distribution found for one==1"
    assert not (tmp_path / ".ready").exists()


def test_programs_of_packages_are_there_and_units_have_names_of_their_own() -> None:
    assert all((packages.PROGRAMS / f"{unit.program}_refer.py").exists() for unit in (packages.Sippy, packages.Sipua))
    assert len({unit.name for unit in UNITS.values()}) == len(UNITS)
