"""The command ``cxmld``: serve, demo, doctor, lint, config (docs/reference/cli.md).

What a user can cause ends with one clear text and an exit status, never with a traceback.
"""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import httpx
import typer
from rich.console import Console

from cxml.access.peers import Proof
from cxml.calls.context import set_process
from cxml.daemon.config import Config, Log, LogLevel, certificate_warning, load_config
from cxml.daemon.config.peer import Peer
from cxml.daemon.logging import configure_logging
from cxml.daemon.metrics import daemon_version
from cxml.daemon.runtime import new_event_loop, prepare
from cxml.document import MAX_BYTES, Diagnostic, Level, lint
from cxml.errors import ConfigError, CxmlError
from cxml.services.target import parse_target, without_query, without_secrets
from sipua.errors import SipError, printable

FAULT: Final = 1
UNREADABLE: Final = 2
"""Exit statuses: what was asked about is wrong; it can't be read at all."""

DEFAULT_CONFIG: Final = Path("cxmld.toml")
"""Read when there is one in the current folder and no other is named."""

FETCH_TIMEOUT_S: Final = 10.0
MAX_REDIRECTS: Final = 3
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_XML_TYPE: Final = re.compile(r"(?:text/(?:xml|html)|application/xml|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_+-]+\+xml)", re.IGNORECASE)
"""What the daemon takes for a document; a test holds it against the daemon's own."""

_HEADERS: Final = {"Accept": "text/xml, application/xml;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}

app = typer.Typer(
    name="cxmld",
    help="Runs cXML voice documents beside a PBX and tells the truth about SIP transfers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at configurations.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")


class DemoOutcome(StrEnum):
    """What the target of the demo's transfer does."""

    ANSWERS = "answers"
    BUSY = "busy"
    DECLINES = "declines"
    UNAVAILABLE = "unavailable"


def _demo_outcome(text: str) -> DemoOutcome:
    try:
        return DemoOutcome(text)
    except ValueError:
        raise typer.BadParameter(f"{printable(text, 60)!r} is not one of {', '.join(DemoOutcome)}.") from None


_CONFIG_HELP: Final = "TOML file; default: cxmld.toml in the current folder, if there is one."
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help=_CONFIG_HELP)]
Document = Annotated[str, typer.Argument(metavar="FILE|URL|-", help="A file, a URL to GET, or - for standard input.")]


def _show_version(wanted: bool) -> None:  # the shape that typer calls
    if wanted:
        typer.echo(f"cxmld {daemon_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Run cXML voice documents beside a PBX and tell the truth about SIP transfers."""


@app.command()
def serve(
    config: ConfigFile = None,
    sip: Annotated[list[str] | None, typer.Option("--sip", metavar="udp:HOST:PORT", help="Where SIP is received; may be repeated.")] = None,
    http: Annotated[str | None, typer.Option("--http", metavar="HOST:PORT", help="Where health and metrics are served.")] = None,
    voice_url: Annotated[str | None, typer.Option("--voice-url", metavar="URL", help="URL of the first document.")] = None,
    workers: Annotated[str | None, typer.Option("--workers", metavar="N", help="How many processes take calls.")] = None,
) -> None:
    """Run the daemon until SIGTERM or SIGINT; flags override the environment, which overrides the file."""
    try:
        prepare()
    except SipError as error:
        _fail(f"cxmld: {error}", FAULT)
    settings = _load(config, {"--sip": sip, "--http": http, "--voice-url": voice_url, "--workers": workers})
    configure_logging(settings.log, settings.secrets())
    set_process()
    if settings.workers.count == 1:  # the daemon's half of the imports is for this command only
        from cxml.daemon.run import serve as run_daemon  # noqa: PLC0415
    else:
        from cxml.daemon.workers.serve import serve_workers as run_daemon  # noqa: PLC0415

    try:
        _run(run_daemon(settings))
    except (CxmlError, SipError, OSError) as error:
        _fail(f"cxmld: {printable(str(error), 1000)}", FAULT)


@app.command()
def demo(
    outcome: Annotated[
        DemoOutcome,
        typer.Option("--outcome", parser=_demo_outcome, metavar="|".join(DemoOutcome), help="What the target of the transfer does."),
    ] = DemoOutcome.ANSWERS,
) -> None:
    """Make one call and one transfer on loopback, with daemon, phone and application in this process, and print the ladder."""
    configure_logging(Log(level=LogLevel.WARNING))
    from cxml.daemon.demo import demo as run_demo  # noqa: PLC0415  # see serve

    try:
        status = _run(run_demo(Console(highlight=False), outcome=str(outcome)))
    except (CxmlError, SipError, OSError) as error:
        _fail(f"cxmld demo: {printable(str(error), 1000)}", FAULT)
    raise typer.Exit(status)


@app.command()
def doctor(
    peer: Annotated[str, typer.Option("--peer", metavar="NAME", help="The [[peers]] to check.")],
    config: ConfigFile = None,
    call: Annotated[str, typer.Option("--call", metavar="EXTENSION", help="Call this extension: one that rings a phone.")] = "",
    transfer_to: Annotated[str, typer.Option("--transfer-to", metavar="EXTENSION", help="Transfer that call to this one.")] = "",
    unanswered: Annotated[
        str, typer.Option("--transfer-to-unanswered", metavar="EXTENSION", help="Transfer a call to this one, which never answers.")
    ] = "",
    register: Annotated[bool, typer.Option("--register", help="Bind for real; may displace the daemon's registration.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Two more calls: tel: targets, foreign hosts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Print the SIP ladder.")] = False,
) -> None:
    """Check a PBX and say which of its settings to change. Exit status 0: all well, 1: findings, 2: it could not be run."""
    settings = _load(config, {}, UNREADABLE)
    configure_logging(Log(level=LogLevel.ERROR), settings.secrets())
    from cxml.daemon.build import credentials_of  # noqa: PLC0415  # see serve
    from cxml.doctor.plan import find_peer, make_plan  # noqa: PLC0415
    from cxml.doctor.run import doctor as run_doctor  # noqa: PLC0415

    steps = {"extension": call, "transfer_to": transfer_to, "unanswered": unanswered, "binds": register, "is_thorough": thorough}
    try:
        found = find_peer(settings, peer)
        plan = make_plan(settings, found, credentials=credentials_of(found), **steps)
        console = Console(highlight=False)
        status = _run(run_doctor(settings, found.name, plan, console, as_json=as_json, with_trace=trace))
    except (CxmlError, SipError, OSError) as error:
        _fail(f"cxmld doctor: {printable(str(error), 1000)}", UNREADABLE)
    raise typer.Exit(status)


@app.command("lint")
def lint_document(
    source: Annotated[str, typer.Argument(metavar="FILE|URL|-", help="A file, a URL to GET, or - for standard input.")],
) -> None:
    """Check a cXML document: one finding a line. Exit status 1 if there are errors, 2 if it can't be read."""
    try:
        body, warning = _read(source)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        _fail(f"{_source_name(source)}: can't be read: {_cause(error)}", UNREADABLE)
    findings = [_as_read(finding) for finding in lint(body, source)]
    if warning:
        typer.echo(f"{_source_name(source)}:1:1: warning {warning}")
    for finding in findings:
        typer.echo(finding.format(_source_name(source)))
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(FAULT)


@config_app.command("check")
def check_config(config: ConfigFile = None) -> None:
    """Check a configuration, file and environment: every problem with its place. Exit status 1 if there are any."""
    settings = _load(config, {})
    typer.echo("ok")
    for name, value in _summary(settings):
        typer.echo(f"{name:<22}{value}")
    if warning := certificate_warning(settings):
        typer.echo(f"warning: {warning}", err=True)


@config_app.command("example")
def show_example() -> None:
    """Print a configuration file with every setting, its default and its explanation."""
    from cxml.daemon.config.text import example_toml  # noqa: PLC0415  # see serve

    typer.echo(example_toml(), nl=False)


def _load(path: Path | None, flags: dict[str, str | list[str] | None], status: int = FAULT) -> Config:
    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    try:
        return load_config(path, os.environ, flags)
    except ConfigError as error:
        _fail(str(error), status)


def _summary(config: Config) -> list[tuple[str, str]]:
    """Return what the daemon would do, in rows of name and value, without secrets."""
    voice = config.voice
    signed = {"X-Twilio-Signature": config.account.auth_token, "X-SignalWire-Signature": config.account.signing_key}
    rows = [
        ("SIP", ", ".join(config.sip.listen)),
        ("HTTP", config.http.listen or "none"),
        ("first document", f"{voice.method} {_shown_url(voice.url)}"),
        ("fallback", f"{voice.fallback_method} {_shown_url(voice.fallback_url)}" if voice.fallback_url else "none"),
        ("signatures", ", ".join(name for name, key in signed.items() if key.get_secret_value()) or "none"),
    ]
    if config.workers.count > 1:
        rows.append(("workers", str(config.workers.count)))
    if config.tls.certificate:
        checked = f"clients' certificates: {config.tls.verify_clients}"
        rows.append(("certificate", f"{config.tls.certificate}, {checked}"))
    for peer in config.peers:
        registering = f", registers as {peer.username} at {peer.uri}" if peer.is_registering else ""
        rows.append((f"peer {peer.name}", f"{_known_by(peer)}{registering}"))
    return rows if config.peers else [*rows, ("peers", "none: calls are taken from this machine only")]


def _known_by(peer: Peer) -> str:
    """Return how requests show that they are this peer's; a certificate will do instead of an address or a password."""
    blocks = "anywhere" if peer.auth is Proof.DIGEST else ", ".join(str(network) for network in peer.networks)
    known = [f"calls from {blocks}"] if blocks else []
    if peer.auth is not Proof.ADDRESS:
        known = [f"{each} as {peer.inbound_user}, with its password" for each in known]
    known += [f"calls with the certificate of {' or '.join(peer.certificate)}"] if peer.certificate else []
    return " or ".join(known)


def _shown_url(url: str) -> str:
    return without_query(without_secrets(url))  # applications take keys in the query, too


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(status)


def _is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _source_name(source: str) -> str:
    return "<stdin>" if source == "-" else repr(source) if not source else printable(without_secrets(source) if _is_url(source) else source)


def _as_read(finding: Diagnostic) -> Diagnostic:
    """Don't give the size of a document of which only the beginning was read."""
    return replace(finding, message=f"the document has more than {MAX_BYTES} bytes") if finding.slug == "too-large" else finding


def _read(source: str) -> tuple[bytes, str]:
    """Return the document and a warning about how it came, or "". At most one byte is read more than a document may have:
    that one is an error of its own. Raises what :func:`lint_document` reports.
    """
    if not source:
        raise ValueError("name a file, a URL or - for standard input")
    if source == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1), ""
    if not _is_url(source):
        if _SCHEME.match(source) and not Path(source).exists():
            raise ValueError("of URLs only http and https are read")
        with Path(source).open("rb") as stream:
            return stream.read(MAX_BYTES + 1), ""
    return asyncio.run(_fetch(source))


async def _fetch(url: str) -> tuple[bytes, str]:
    body = bytearray()
    hooks = {"request": [_check_target]}
    async with (
        asyncio.timeout(FETCH_TIMEOUT_S),
        httpx.AsyncClient(
            timeout=FETCH_TIMEOUT_S, headers=_HEADERS, follow_redirects=True, max_redirects=MAX_REDIRECTS, event_hooks=hooks
        ) as client,
        client.stream("GET", url.partition("#")[0]) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                break
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    refused = body and not _XML_TYPE.fullmatch(media_type)
    warning = f"12300 the daemon refuses the Content-Type {printable(media_type, 80)!r}; send text/xml" if refused else ""
    return bytes(body[: MAX_BYTES + 1]), warning


async def _check_target(request: httpx.Request) -> None:
    """Refuse, also behind a redirection, what the transport would only stumble over. Raises ValueError."""
    parse_target(str(request.url))


def _cause(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"no complete answer within {FETCH_TIMEOUT_S:g} seconds"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(without_secrets(str(error)) or type(error).__name__)


def main() -> None:
    """Run the command line."""
    app()
