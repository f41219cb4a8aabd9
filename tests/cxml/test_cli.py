"""The command line."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextvars import Context, copy_context
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cxml import cli
from cxml.daemon.config import Config
from cxml.daemon.metrics import daemon_version
from cxml.daemon.runtime import IS_PYPY
from cxml.errors import CxmlError
from cxml.services import exchange
from sipua.errors import TransportError
from tests.support.certificates import Authority
from tests.support.tables import read_table

ROOT = Path(__file__).parents[2]
GOOD = '<?xml version="1.0"?><Response><Hangup/></Response>'
BAD = "<Response>\n  <Refer><Sip>sip:a@b</Sip><Sip>sip:c@d</Sip></Refer>\n</Response>"
URL = "http://user:hunter2@127.0.0.1:8000/voice"

runner = CliRunner()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without settings of the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CXMLD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(cli, "configure_logging", lambda *_args, **_options: None)


def test_the_version_is_printed() -> None:
    result = runner.invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"cxmld {daemon_version()}\n")


def test_without_arguments_the_commands_are_listed() -> None:
    result = runner.invoke(cli.app, [])
    assert all(name in result.output for name in ("serve", "demo", "lint", "config"))


# -- lint


def test_lint_says_nothing_about_a_good_document(tmp_path: Path) -> None:
    (tmp_path / "good.xml").write_text(GOOD, encoding="utf-8")
    result = runner.invoke(cli.app, ["lint", "good.xml"])
    assert (result.exit_code, result.output) == (0, "")


def test_lint_prints_place_level_code_and_message_and_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text(BAD, encoding="utf-8")
    result = runner.invoke(cli.app, ["lint", "bad.xml"])
    assert result.exit_code == 1
    assert re.fullmatch(r"bad\.xml:2:\d+: error 13215 .+\n", result.stdout)


def test_lint_succeeds_with_warnings() -> None:
    result = runner.invoke(cli.app, ["lint", "-"], input=b'<Response><Pause nonsense="1"/></Response>')
    assert result.exit_code == 0
    assert result.stdout.startswith("<stdin>:1:11: warning 12200 ")


def test_lint_of_what_is_not_there_exits_2() -> None:
    result = runner.invoke(cli.app, ["lint", "none.xml"])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "none.xml: can't be read: No such file or directory\n")
    assert runner.invoke(cli.app, ["lint", "/"]).exit_code == 2


def test_lint_reads_no_more_than_a_document_may_have(tmp_path: Path) -> None:
    (tmp_path / "large.xml").write_bytes(b"<Response>" + b" " * 1_000_000)
    result = runner.invoke(cli.app, ["lint", "large.xml"])
    assert result.exit_code == 1
    assert "error 11750" in result.stdout


def test_lint_does_not_say_how_large_a_document_is_that_it_did_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.xml").write_bytes(b"<Response>" + b" " * 1_000_000)
    result = runner.invoke(cli.app, ["lint", "large.xml"])
    assert result.stdout == "large.xml:1:1: error 11750 the document has more than 65536 bytes\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("ftp://127.0.0.1/voice.xml", "ftp://127.0.0.1/voice.xml: can't be read: of URLs only http and https are read\n"),
        ("", "'': can't be read: name a file, a URL or - for standard input\n"),
    ],
)
def test_lint_of_what_names_no_document_says_what_it_takes(source: str, text: str) -> None:
    result = runner.invoke(cli.app, ["lint", source])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", text)


def test_lint_and_the_daemon_take_the_same_types() -> None:
    assert cli._XML_TYPE == exchange._XML_TYPE


def serving(answer: bytes, use: Callable[[str], tuple[int, str]]) -> tuple[int, str]:
    """Run *use* with the URL of a server that answers every request with *answer*."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def run() -> tuple[int, str]:
        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(use, f"http://u:hunter2@127.0.0.1:{port}/doc#rc=3")

    return asyncio.run(run())


def lint_by_process(url: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "cxml", "lint", url], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (f"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {len(BAD)}\r\n\r\n{BAD}", 1, "/doc:2:"),
        (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}",
            0,
            "/doc:1:1: warning 12300 the daemon refuses the Content-Type 'text/plain'; send text/xml",
        ),
        (f"HTTP/1.1 200 OK\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}", 0, "/doc:1:1: warning 12300 the daemon refuses"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 2, "/doc: can't be read: the server answered 404"),
        ("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", 2, "can't be read: "),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n", 2, "can't be read: the port is not"),
        ("SSH-2.0-OpenSSH\r\n", 2, "can't be read: "),
    ],
)
def test_lint_of_a_url(answer: str, status: int, text: str) -> None:
    exit_code, output = serving(answer.encode(), lint_by_process)
    assert exit_code == status
    assert text in output
    assert "hunter2" not in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("url", ["http://", "http://[", "https://127.0.0.1:99999/", "http://127.0.0.1:1/"])
def test_lint_of_a_url_that_is_none_or_nowhere_exits_2(url: str) -> None:
    result = runner.invoke(cli.app, ["lint", url])
    assert result.exit_code == 2
    assert "can't be read" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# -- config


def test_config_check_prints_every_problem(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[webhook]\ntotal_timeout_s = 0\n[sip]\nlisten = []\n", encoding="utf-8")
    result = runner.invoke(cli.app, ["config", "check", "--config", "x.toml"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["x.toml:2", "x.toml:4", "x.toml"]


def test_config_check_says_ok_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXMLD_VOICE__URL", URL)
    monkeypatch.setenv("CXMLD_ACCOUNT__AUTH_TOKEN", "hunter2")
    monkeypatch.setenv("CXMLD_PEERS__PBX__URI", "sip:10.0.0.5")
    monkeypatch.setenv("CXMLD_PEERS__PBX__USERNAME", "cxmld")
    monkeypatch.setenv("CXMLD_PEERS__PBX__PASSWORD", "hunter2")
    monkeypatch.setenv("CXMLD_PEERS__PBX__REGISTER", "true")
    result = runner.invoke(cli.app, ["config", "check"])
    assert result.exit_code == 0
    assert result.stdout.startswith("ok\n")
    assert "POST http://127.0.0.1:8000/voice\n" in result.stdout
    assert "calls from 10.0.0.5/32, registers as cxmld at sip:10.0.0.5" in result.stdout
    assert "X-Twilio-Signature" in result.stdout
    assert "hunter2" not in result.output


def test_config_check_says_how_each_peer_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXMLD_VOICE__URL", URL)
    monkeypatch.setenv("CXMLD_PEERS__BRANCH__INBOUND_PASSWORD", "hunter2")
    monkeypatch.setenv("CXMLD_PEERS__SHOP__INBOUND_PASSWORD", "hunter3")
    authority = Authority(tmp_path).file
    peers = tmp_path / "peers.toml"
    peers.write_text(
        '[[peers]]\nname = "branch"\nauth = "digest"\ninbound_username = "b"\n'
        '[[peers]]\nname = "shop"\nauth = "both"\ninbound_username = "s"\nmatch = ["10.0.0.7"]\n'
        f'[[peers]]\nname = "pbx"\ncertificate = ["pbx.example.com"]\nmatch = ["10.0.0.5"]\n[tls]\nca_file = "{authority}"\n'
        'verify_clients = "optional"\n'
    )
    rows = runner.invoke(cli.app, ["config", "check", "--config", str(peers)]).stdout
    assert "calls from anywhere as b, with its password\n" in rows
    assert "calls from 10.0.0.5/32 or calls with the certificate of pbx.example.com\n" in rows
    assert "calls from 10.0.0.7/32 as s, with its password\n" in rows


def test_config_check_leaves_out_the_query_of_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXMLD_VOICE__URL", "http://app/voice?key=hunter2#rc=1")
    monkeypatch.setenv("CXMLD_VOICE__FALLBACK_URL", "http://app/fallback?key=hunter2")
    result = runner.invoke(cli.app, ["config", "check"])
    assert "POST http://app/voice?…\n" in result.stdout
    assert "POST http://app/fallback?…\n" in result.stdout
    assert "hunter2" not in result.output


def test_the_file_in_the_current_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "cxmld.toml").write_text(f'[voice]\nurl = "{URL}"\n[http]\nlisten = "[::1]:9999"\n', encoding="utf-8")
    result = runner.invoke(cli.app, ["config", "check"])
    assert result.exit_code == 0
    assert "[::1]:9999" in result.stdout


def test_config_example_is_the_file_of_the_project() -> None:
    result = runner.invoke(cli.app, ["config", "example"])
    assert result.stdout == (ROOT / "etc" / "cxmld.toml").read_text(encoding="utf-8")


# -- serve and demo


def test_serve_runs_the_daemon_with_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    loops: list[str] = []

    async def run(config: Config) -> None:
        seen.append(config)
        loops.append(type(asyncio.get_running_loop()).__module__)

    monkeypatch.setattr("cxml.daemon.run.serve", run)
    flags = ["--sip", "udp:127.0.0.1:0", "--sip", "tcp:127.0.0.1:0", "--http", "127.0.0.1:0", "--voice-url", URL]
    result = runner.invoke(cli.app, ["serve", *flags])
    assert (result.exit_code, result.output) == (0, "")
    (config,) = seen
    assert (config.sip.listen, config.http.listen, config.voice.url) == (("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), "127.0.0.1:0", URL)
    assert loops == ["cxml.daemon.plain_loop" if IS_PYPY else "uvloop"]


def test_serve_with_several_workers_is_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []

    async def run(config: Config) -> None:
        seen.append(config)

    monkeypatch.setattr("cxml.daemon.workers.serve.serve_workers", run)
    result = runner.invoke(cli.app, ["serve", "--workers", "3", "--voice-url", URL])
    assert (result.exit_code, result.output) == (0, "")
    assert seen[0].workers.count == 3
    result = runner.invoke(cli.app, ["serve", "--workers", "65", "--voice-url", URL])
    assert (result.exit_code, result.stderr) == (1, "--workers: must be at most 64, not '65'; the default is 1\n")


def test_serve_without_an_http_side(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []

    async def run(config: Config) -> None:
        seen.append(config)

    monkeypatch.setattr("cxml.daemon.run.serve", run)
    result = runner.invoke(cli.app, ["serve", "--http", "", "--voice-url", URL])
    assert result.exit_code == 0
    assert seen[0].http.address is None


def test_serve_gives_the_log_context_a_value_before_there_is_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy looks for a variable without a value by an exception, and all frames above pay for it (docs/adr/0024)."""
    seen: list[str] = []

    async def run(_config: Config) -> None:
        seen.extend(variable.name for variable in copy_context())

    monkeypatch.setattr("cxml.daemon.run.serve", run)
    Context().run(runner.invoke, cli.app, ["serve", "--voice-url", URL])
    assert "cxmld_call" in seen


@pytest.mark.parametrize("error", [CxmlError("port taken\nx"), TransportError("port taken\nx"), OSError("port taken\nx")])
def test_serve_says_in_one_line_why_it_can_not_start(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_config: Config) -> None:
        raise error

    monkeypatch.setattr("cxml.daemon.run.serve", run)
    result = runner.invoke(cli.app, ["serve", "--voice-url", URL])
    assert (result.exit_code, result.stderr) == (1, "cxmld: port taken\\nx\n")


def test_serve_with_a_broken_configuration_says_what_is_wrong() -> None:
    result = runner.invoke(cli.app, ["serve", "--sip", "ws:127.0.0.1:5061"])
    assert result.exit_code == 1
    assert "--sip: 'ws:127.0.0.1:5061': unknown transport 'ws'" in result.stderr
    assert "url: is missing" in result.stderr


def test_demo_exits_with_the_status_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_console: object, *, outcome: str) -> int:
        return {"busy": 0, "answers": 3}[outcome]

    monkeypatch.setattr("cxml.daemon.demo.demo", run)
    assert runner.invoke(cli.app, ["demo"]).exit_code == 3
    assert runner.invoke(cli.app, ["demo", "--outcome", "busy"]).exit_code == 0
    unknown = runner.invoke(cli.app, ["demo", "--outcome", "none"])
    assert unknown.exit_code == 2
    assert "'none' is not one of answers, busy, declines, unavailable." in unknown.stderr
    assert "Value error" not in unknown.stderr


def test_every_command_is_in_the_reference() -> None:
    listed = {row["Command"] for row in read_table(ROOT / "docs" / "reference" / "cli.md", "Command line")}
    root = get_command(cli.app)
    assert hasattr(root, "commands")
    found = set()
    for name, command in root.commands.items():
        found |= {f"cxmld {name} {sub}" for sub in command.commands} if hasattr(command, "commands") else {f"cxmld {name}"}
    assert listed == found


def test_the_flags_of_serve_are_in_the_reference() -> None:
    listed = {row["Flag"].split(",")[0].split(" ")[0] for row in read_table(ROOT / "docs" / "reference" / "cli.md", "`cxmld serve`")}
    root = get_command(cli.app)
    assert hasattr(root, "commands")
    assert listed == {parameter.opts[0] for parameter in root.commands["serve"].params}


def test_the_flags_of_doctor_are_in_the_reference() -> None:
    listed = {
        row["Flag"].split(",")[0].split(" ")[0] for row in read_table(ROOT / "docs" / "reference" / "cli.md", "`cxmld doctor --peer NAME`")
    }
    root = get_command(cli.app)
    assert hasattr(root, "commands")
    assert listed == {parameter.opts[0] for parameter in root.commands["doctor"].params}


DOCTOR = '[voice]\nurl = "http://127.0.0.1:1/"\n[sip]\nlisten = ["udp:127.0.0.1:0"]\n[[peers]]\nname = "pbx"\n'


@pytest.mark.parametrize(
    ("config", "peer", "told"),
    [
        (DOCTOR + 'uri = "sip:127.0.0.1:1"\n', "pxb", "there is no peer 'pxb'; the configuration has pbx"),
        (DOCTOR + 'match = ["10.0.0.0/8"]\n', "pbx", "peer pbx has no uri"),
        ('[voice]\nurl = "http://127.0.0.1:1/"\n', "pbx", "the configuration has no [[peers]]"),
        (DOCTOR + 'uri = "http://x"\n', "pbx", "uri"),
    ],
)
def test_doctor_says_why_it_can_not_be_run(tmp_path: Path, config: str, peer: str, told: str) -> None:
    (tmp_path / "cxmld.toml").write_text(config, encoding="utf-8")
    result = runner.invoke(cli.app, ["doctor", "--peer", peer])
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("options", [["--call", "sip:"], ["--call", "sip:a b@c"], ["--transfer-to", "tel:+15551234"]])
def test_doctor_refuses_an_extension_that_is_none(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "cxmld.toml").write_text(DOCTOR + 'uri = "sip:127.0.0.1:1"\n', encoding="utf-8")
    result = runner.invoke(cli.app, ["doctor", "--peer", "pbx", *options])
    assert (result.exit_code, "is no extension and no SIP URI" in result.stderr) == (2, True), result.stderr


def test_doctor_tells_a_pbx_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "cxmld.toml").write_text(DOCTOR + 'uri = "sip:127.0.0.1:1;transport=tcp"\n', encoding="utf-8")
    result = runner.invoke(cli.app, ["doctor", "--peer", "pbx", "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, [item["code"] for item in told["findings"]]) == (1, ["no_way"])


@pytest.mark.e2e
@pytest.mark.slow
def test_the_daemon_starts_as_a_process_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "cxml", "serve", "--voice-url", "http://127.0.0.1:1/"]
    flags = ["--sip", "udp:127.0.0.1:0", "--http", "127.0.0.1:0"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        try:
            first = json.loads(process.stderr.readline())
            with urllib.request.urlopen(f"http://{first['http']}/health/ready", timeout=10) as response:
                health = json.load(response)
            with urllib.request.urlopen(f"http://{first['http']}/metrics", timeout=10) as response:
                metrics = response.read().decode()
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (first["event"], first["level"], health["status"]) == ("daemon_ready", "info", "ready")
    assert 'cxmld_sip_messages_total{event="received"} 0.0' in metrics
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert "Warning" not in rest
