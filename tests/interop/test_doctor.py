"""``cxmld doctor`` against a real Asterisk: each fault of an endpoint is named with its setting, and a sound one has none."""

import asyncio
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import sipp as sipp_runner
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.certificates import Authority

LIMIT_S = 80.0
RIGHT = {"username": "cxmld", "password": "cxmld-secret"}
HONEST = ("--call", "party", "--transfer-to", "true-slow", "--transfer-to-unanswered", "silent-ring")


@dataclass(frozen=True, slots=True)
class Fault:
    """A peer as it is configured, what is asked, and the findings with a word of the setting that each names."""

    name: str
    options: tuple[str, ...]
    findings: dict[str, str]
    peer: dict[str, str] = field(default_factory=dict)
    sip: str = ""
    is_ringing_told: bool = True
    """False: Asterisk reports the ringing, or passes over it when the answer is as quick."""


FAULTS = [
    Fault("a sound endpoint with a password", HONEST, {}, RIGHT),
    Fault("a sound endpoint known by its address", HONEST, {}, {"username": "cxmld-trunk"}),
    Fault("a wrong password", (), {"wrong_password": "type=auth"}, {"username": "cxmld", "password": "wrong-secret"}),
    Fault("no password", ("--call", "party"), {"not_recognized": "type=identify"}, {"username": "cxmld"}),
    Fault("a user that is not there", (), {"unknown_user": "aors"}, {"username": "nobody", "password": "wrong-secret"}),
    Fault(
        "transfers forbidden",
        ("--call", "party", "--transfer-to", "slow"),
        {"transfer_forbidden": "allow_transfer"},
        {"username": "cxmld-notransfer"},
    ),
    Fault(
        "no progress reported",
        ("--call", "party", "--transfer-to", "true-slow"),
        {"early_success": "refer_blind_progress=yes"},
        {"username": "cxmld-noprogress"},
    ),
    Fault("no progress reported, proved", HONEST, {"false_success": "refer_blind_progress=yes"}, {"username": "cxmld-noprogress"}),
    Fault("stock tones", ("--call", "party", "--transfer-to", "slow"), {"early_success": "tonezone"}, RIGHT, is_ringing_told=False),
    Fault(
        "stock tones, proved",
        ("--call", "party", "--transfer-to", "true-slow", "--transfer-to-unanswered", "noanswer"),
        {"false_success": "tonezone"},
        RIGHT,
        is_ringing_told=False,
    ),
    Fault("no codec in common", ("--call", "party"), {"media_refused": "allow=ulaw,alaw"}, {"username": "cxmld-codec"}),
    Fault("encrypted audio only", ("--call", "party"), {"media_refused": "media_encryption=no"}, {"username": "cxmld-srtp"}),
    Fault("no such extension", ("--call", "party"), {"extension_unknown": "context"}, {"username": "cxmld-nowhere"}),
    Fault("no such target", ("--call", "party", "--transfer-to", "unknown"), {"target_unknown": "context"}, RIGHT),
    Fault("a busy target", ("--call", "party", "--transfer-to", "busy"), {"transfer_failed": "log"}, RIGHT),
    Fault("a busy extension", ("--call", "busy"), {"not_taken": "answers"}, RIGHT),
    Fault("a silent extension", ("--call", "party-silent"), {"no_audio": "rtp_symmetric"}, RIGHT),
    Fault(
        "a Contact that can not be reached",
        ("--call", "party", "--transfer-to", "true-slow"),
        {"address_translated": "rewrite_contact", "no_audio": "advertised_host", "no_notify": "rewrite_contact"},
        {"username": "cxmld-trunk"},
        sip='advertised_host = "127.9.9.9"',
    ),
]


def configured(folder: Path, asterisk: Asterisk, peer: dict[str, str], sip: str = "", uri: str = "") -> Path:
    """Write a configuration whose daemon would listen at a port that doesn't matter here."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in peer.items())
    path = folder / "cxmld.toml"
    path.write_text(
        f'[sip]\nlisten = ["udp:127.0.0.1:5060"]\n{sip}\n[voice]\nurl = "http://127.0.0.1:1/"\n'
        f'[[peers]]\nname = "pbx"\nuri = "{uri or f"sip:127.0.0.1:{asterisk.ports.sip}"}"\n{lines}',
        encoding="utf-8",
    )
    return path


async def started(config: Path, *options: str) -> asyncio.subprocess.Process:
    """Start the command as a terminal does: a shell that runs the tests in the background has taken Ctrl-C from its children."""
    arguments = ["-m", "cxml", "doctor", "--config", str(config), "--peer", "pbx", *options]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe, preexec_fn=_take_interrupts)


def _take_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Return exit status, output and errors."""
    async with asyncio.timeout(LIMIT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_the_fault_and_its_setting_are_named(ami: Ami, asterisk: Asterisk, tmp_path: Path, fault: Fault) -> None:
    del ami  # its fixture leaves no channel behind
    config = configured(tmp_path, asterisk, fault.peer, fault.sip)
    status, out, err = await ended(await started(config, "--json", *fault.options))
    told = json.loads(out)
    found = {item["code"]: item for item in told["findings"] if item["severity"] != "note"}
    if not fault.is_ringing_told:
        found = {code.removesuffix("_ringing"): item for code, item in found.items()}
    assert set(found) == set(fault.findings), (out, err)
    for code, item in found.items():
        assert fault.findings[code] in item["remedy"]
        assert item["evidence"]
    assert status == (1 if fault.findings else 0)
    assert told["pbx"].startswith("Asterisk PBX 22")
    assert not any(value in out + err for key, value in fault.peer.items() if key == "password")


async def test_echo_is_told_to_be_no_party_to_transfer(ami: Ami, asterisk: Asterisk, tmp_path: Path) -> None:
    del ami
    config = configured(tmp_path, asterisk, RIGHT)
    status, out, _ = await ended(await started(config, "--call", "echo", "--transfer-to", "true-slow", "--trace"))
    assert status == 0
    assert "note not_bridged" in out
    assert "All well." in out
    assert "REFER <sip:true-slow" in out
    assert "Authorization" not in out


def bindings(asterisk: Asterisk, user: str) -> list[str]:
    """Return the contacts of *user* that Asterisk has now."""
    return [line.split()[1] for line in asterisk.rx("pjsip show contacts").splitlines() if f" {user}/sip:" in line]


@pytest.mark.usefixtures("ami", "sipp")
async def test_the_check_leaves_the_binding_of_the_daemon_alone_unless_it_is_asked_to_bind(asterisk: Asterisk, tmp_path: Path) -> None:
    user, secret = "cxmld-tcp", RIGHT["password"]
    config = configured(tmp_path, asterisk, {**RIGHT, "username": user}, uri=f"sip:127.0.0.1:{asterisk.ports.sip};transport=tcp")
    fill = {"USER": user, "PASSWORD": secret}
    address = (asterisk.host, asterisk.ports.sip)
    (await sipp_runner.run("uac-register.xml", remote=address, tcp=True, service=user, fill=fill)).check()
    theirs = bindings(asterisk, user)
    assert len(theirs) == 1
    status, out, _ = await ended(await started(config))
    assert (status, "200 asked, nothing bound" in out) == (0, True)
    assert bindings(asterisk, user) == theirs
    status, out, _ = await ended(await started(config, "--register"))
    assert (status, "200 bound for a moment" in out) == (0, True)
    assert bindings(asterisk, user) == [], "asked to bind it displaces theirs, for this user may have one contact; ours is gone, too"


@pytest.mark.parametrize(("word", "extension"), [("registration:", "noanswer"), ("registration:", "party"), ("audio:", "party")])
async def test_ctrl_c_hangs_up(ami: Ami, asterisk: Asterisk, tmp_path: Path, word: str, extension: str) -> None:
    config = configured(tmp_path, asterisk, RIGHT)
    process = await started(config, "--call", extension, "--transfer-to", "silent-ring")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        while word not in (await process.stdout.readline()).decode():
            pass
    await asyncio.sleep(0.3)  # real time: the next step is under way at the PBX
    process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert (status, "interrupted; calls are hung up." in out) == (2, True), (out, err)
    await ami.wait_until(lambda channels: not any(channel.name.startswith("PJSIP/cxmld-") for channel in channels), "no leg of ours")


async def checked_over_tls(
    folder: Path, asterisk: Asterisk, ca: Path, host: str, *options: str, with_pair: bool = True
) -> tuple[int, dict[str, str]]:
    """Check the PBX over TLS, with *ca* as our authority, and return the exit status and the evidence of each finding that is no note."""
    uri = f"sip:{host}:{asterisk.ports.tls};transport=tls;maddr=127.0.0.1"
    config = configured(folder, asterisk, {"username": "cxmld-trunk"}, uri=uri)
    certificate, key = asterisk.authority.issue("localhost", "127.0.0.1")
    pair = f"certificate = {json.dumps(certificate)}\nprivate_key = {json.dumps(key)}\n" if with_pair else ""
    text = config.read_text().replace('name = "pbx"', 'name = "pbx"\nmatch = ["127.0.0.1"]')
    config.write_text(f"{text}[tls]\nca_file = {json.dumps(str(ca))}\n{pair}")
    status, out, err = await ended(await started(config, "--json", *options))
    assert err == "", err
    return status, {item["code"]: " ".join(item["evidence"]) for item in json.loads(out)["findings"] if item["severity"] != "note"}


async def test_a_sound_endpoint_over_tls_has_no_fault(ami: Ami, asterisk: Asterisk, tmp_path: Path) -> None:
    del ami
    assert await checked_over_tls(tmp_path, asterisk, asterisk.authority.file, "127.0.0.1", *HONEST) == (0, {})


async def test_a_failed_handshake_is_told_with_its_reason(ami: Ami, asterisk: Asterisk, tmp_path: Path) -> None:
    del ami
    own, other = asterisk.authority.file, Authority(tmp_path).file
    status, found = await checked_over_tls(tmp_path, asterisk, other, "127.0.0.1")
    assert (status, list(found)) == (1, ["tls_failed"])
    assert "an authority that we don't know" in found["tls_failed"]
    _, found = await checked_over_tls(tmp_path, asterisk, own, "elsewhere.example")
    assert list(found) == ["tls_failed"]
    assert "does not stand for elsewhere.example but for localhost, 127.0.0.1" in found["tls_failed"]
    _, found = await checked_over_tls(tmp_path, asterisk, own, "127.0.0.1", with_pair=False)
    assert list(found) == ["tls_failed"], found
