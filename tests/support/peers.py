"""Which real peers this machine has, and free ports for them."""

import os
import random
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

INTEROP = Path(__file__).resolve().parents[1] / "interop"
PEERS_DIR = Path(os.environ.get("PEERS_DIR", "/var/cache/cxmld-peers"))

# Below the ephemeral range of Linux (32768 and up), so that no outgoing connection can take a port between the choice and its use.
_PORTS = range(10_000, 20_000)
# State of a listening socket in /proc/net/tcp.
_LISTEN = "0A"
_RTP_PORTS = range(20_000, 31_000, 100)
_MANY_RTP_PORTS = range(6_100, 9_300)
_WORKERS = 4
_given: set[int] = set()


def missing(peer: str) -> str | None:
    """Return why *peer* (``asterisk``, ``sipp``, ``dnsmasq`` or ``freeswitch``) can't be used here, or None when it can."""
    match peer:
        case "sipp":
            return None if shutil.which("sipp") else "no SIPp"
        case "dnsmasq":
            return None if shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin") else "no dnsmasq"
        case "asterisk":
            # Running it takes root too: it lives in a chroot.
            installed = (PEERS_DIR / "asterisk" / ".cxmld-installed").exists()
            return None if installed and os.geteuid() == 0 else "no Asterisk"
        case "freeswitch":
            return None if os.environ.get("FREESWITCH_SIP") else "no FreeSWITCH"
        case _:
            raise LookupError(f"unknown peer {peer!r}")


def require(peer: str) -> None:
    """Skip the calling test when *peer* is missing; with ``CI=true`` fail it, except for FreeSWITCH, which is never installed here."""
    why = missing(peer)
    if why is None:
        return
    if os.environ.get("CI") == "true" and peer != "freeswitch":
        pytest.fail(f"{why}: run tests/interop/install-peers", pytrace=False)
    _skip(why)


def _skip(why: str) -> NoReturn:
    pytest.skip(f"skipped: {why}")


def freeswitch_address() -> tuple[str, int]:
    """Return host and port of ``FREESWITCH_SIP=host:port``; raise ValueError when it has another form."""
    text = os.environ["FREESWITCH_SIP"]
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ValueError(f"FREESWITCH_SIP must be host:port, not {text!r}")
    return host.strip("[]"), int(port)


def is_bound(port: int, *, tcp: bool = False) -> bool:
    """Tell whether some process of this machine holds the UDP *port* or listens on the TCP *port*, by IPv4 or IPv6.

    The kernel's table is read: a probe that binds the port itself could get in the way of the process that is waited for.
    """
    kind = "tcp" if tcp else "udp"
    tables = [path for path in (Path(f"/proc/net/{kind}"), Path(f"/proc/net/{kind}6")) if path.exists()]
    for line in (line for path in tables for line in path.read_text(encoding="ascii").splitlines()[1:]):
        _, local, _, state = line.split()[:4]
        if int(local.rpartition(":")[2], 16) == port and (not tcp or state == _LISTEN):
            return True
    return False


def require_ipv6() -> None:
    """Skip the calling test where loopback has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        _skip(f"no IPv6 on loopback: {error.strerror}")


def free_port(count: int = 1) -> int:
    """Return the first of *count* neighbouring ports that are free for UDP and TCP on loopback.

    The choice is random (and not the tests' seeded generator), so that runs side by side rarely meet; the workers of one run choose
    from blocks of their own. One process is never given a port twice: it may not be bound yet.
    """
    chance = random.SystemRandom()
    for _ in range(1000):
        first = chance.choice(_PORTS)
        ports = range(first, first + count)
        if (
            _is_mine(ports[0])
            and _is_mine(ports[-1])
            and _given.isdisjoint(ports)
            and not any(is_bound(port, tcp=tcp) for port in ports for tcp in (False, True))
        ):
            _given.update(ports)
            return first
    raise LookupError("no free port on 127.0.0.1")


def _worker() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS


def _is_mine(port: int) -> bool:
    return port // 100 % _WORKERS == _worker()


def many_rtp_ports() -> str:
    """Return the range of 800 ports for the media of several hundred calls that no other worker of the run uses, as it is configured.

    A test has them for itself until its daemon has ended: two daemons on one range take each other's ports.
    """
    first = _MANY_RTP_PORTS.start + len(_MANY_RTP_PORTS) // _WORKERS * _worker()
    return f"{first}-{first + len(_MANY_RTP_PORTS) // _WORKERS - 1}"


def rtp_range() -> tuple[int, int]:
    """Return first and last of 100 ports for media, all free now; the user looks for a free one among them by itself.

    The workers of one run choose from blocks of their own: calls of one must not use up the ports of the other.
    """
    tables = [path for path in (Path("/proc/net/udp"), Path("/proc/net/udp6")) if path.exists()]
    lines = [line for path in tables for line in path.read_text(encoding="ascii").splitlines()[1:]]
    held = {int(line.split()[1].rpartition(":")[2], 16) // 100 * 100 for line in lines}
    mine = [first for first in _RTP_PORTS if _is_mine(first)]
    fresh = [first for first in mine if first not in held and first not in _given]
    first = random.SystemRandom().choice(fresh or mine)
    _given.add(first)
    return first, first + 99
