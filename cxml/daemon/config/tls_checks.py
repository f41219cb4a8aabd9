"""Checks of certificates: they read the files. What they find names the file and the remedy."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from cxml.daemon.config.model import Config
from cxml.daemon.config.toml import Path
from sipua.transport.certificates import CertificateError, VerifyClients, problems, read_certificate
from sipua.transport.identity import canonical
from sipua.transport.route import parse_endpoint

Findings = Iterator[tuple[Path, str]]


def check_certificates(config: Config, broken: AbstractSet[Path]) -> Findings:
    """The files can be used, and a TLS listener has them."""
    if any(path[0] == "tls" for path in broken):
        return
    listens = ("sip", "listen") not in broken and any(parse_endpoint(text).transport == "TLS" for text in config.sip.listen)
    if listens and not config.tls.certificate:
        yield ("tls", "certificate"), "is missing; a tls: listener needs certificate and private_key"
    found = problems(config.tls.settings)
    yield from ((("tls", problem.setting), str(problem)) for problem in found)
    if config.tls.certificate and not found:
        try:
            own = read_certificate(config.tls.settings)
        except CertificateError as error:
            yield ("tls", error.setting), str(error)
        else:
            if listens and not own.serves:
                yield ("tls", "certificate"), f"{config.tls.certificate} may not be used by a TLS server; see its extended key usage"


def certificate_warning(config: Config) -> str:
    """Return why peers refuse our certificate today, ``""`` when they have no reason to. No problem of the configuration:

    a daemon that starts with an old certificate still serves UDP and TCP, and takes a new one by SIGHUP.
    """
    if not config.tls.certificate:
        return ""
    try:
        problem = read_certificate(config.tls.settings).problem(datetime.now(UTC))
    except CertificateError as error:
        problem = str(error)
    return f"[tls] certificate: {config.tls.certificate} {problem}" if problem else ""


def check_peer_certificates(config: Config, broken: AbstractSet[Path]) -> Findings:
    """Peers are known by certificates only where some are asked for, and each by names of its own."""
    owners: dict[str, str] = {}
    for index, peer in enumerate(config.peers):
        path = ("peers", index, "certificate")
        if path in broken or not peer.certificate:
            continue
        if config.tls.verify_clients is VerifyClients.NONE and ("tls", "verify_clients") not in broken:
            yield path, 'needs [tls] verify_clients = "required" or "optional": nobody is asked for a certificate'
        for name in map(canonical, peer.certificate):
            owner = owners.setdefault(name, peer.name)
            if owner != peer.name:
                yield path, f"{name} is a name of the peer {owner!r}, too; a call can be of one peer only"
