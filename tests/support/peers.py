"""Which real peers this machine has, and free ports for them."""

import os
import random
import shutil
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
_WORKERS = 4
_given: set[int] = set()


def missing(peer: str) -> str | None:
    """Return why *peer* (``asterisk``, ``sipp`` or ``freeswitch``) can't be used here, or None when it can."""
    match peer:
        case "sipp":
            return None if shutil.which("sipp") else "no SIPp"
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
    """Tell whether some process of this machine holds the UDP *port* or listens on the TCP *port* (IPv4).

    The kernel's table is read: a probe that binds the port itself could get in the way of the process that is waited for.
    """
    table = Path("/proc/net/tcp" if tcp else "/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    for line in table:
        _, local, _, state = line.split()[:4]
        if int(local.rpartition(":")[2], 16) == port and (not tcp or state == _LISTEN):
            return True
    return False


def free_port(count: int = 1) -> int:
    """Return the first of *count* neighbouring ports that are free for UDP and TCP on loopback.

    The choice is random (and not the tests' seeded generator), so that runs side by side rarely meet; a caller that loses
    the race starts again with another port. One process is never given a port twice: it may not be bound yet.
    """
    chance = random.SystemRandom()
    for _ in range(1000):
        first = chance.choice(_PORTS)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and not any(is_bound(port, tcp=tcp) for port in ports for tcp in (False, True)):
            _given.update(ports)
            return first
    raise LookupError("no free port on 127.0.0.1")


def rtp_range() -> tuple[int, int]:
    """Return first and last of 100 ports for media, all free now; the user looks for a free one among them by itself.

    The workers of one run choose from blocks of their own: calls of one must not use up the ports of the other.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    table = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    held = {int(line.split()[1].rpartition(":")[2], 16) // 100 * 100 for line in table}
    mine = [first for first in _RTP_PORTS if first // 100 % _WORKERS == worker % _WORKERS]
    fresh = [first for first in mine if first not in held and first not in _given]
    first = random.SystemRandom().choice(fresh or mine)
    _given.add(first)
    return first, first + 99
